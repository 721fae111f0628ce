from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest
from google.protobuf import json_format

from motivnet.artifact import open_artifact
from motivnet.images import decode_image
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.serving.triton import export_triton

STAND_IN = Path(__file__).parent / "stand_in" / "triton_python_backend_utils.py"


def session(path: Path) -> Any:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.fixture
def backend_model(monkeypatch: pytest.MonkeyPatch, parsed: Any) -> Any:
    """A function that imports a repository's model.py as Triton's Python backend does."""
    spec = importlib.util.spec_from_file_location("triton_python_backend_utils", STAND_IN)
    assert spec is not None
    assert spec.loader is not None
    utils = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(utils)
    monkeypatch.setitem(sys.modules, utils.__name__, utils)

    def opened(repository: Path, name: str = "motivnet_preprocess") -> tuple[Any, ModuleType]:
        spec = importlib.util.spec_from_file_location(
            "triton_model", repository / name / "1" / "model.py"
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        model = module.TritonPythonModel()
        configuration = json_format.MessageToDict(
            parsed(repository, name), preserving_proto_field_name=True
        )
        model.initialize({"model_config": json.dumps(configuration)})
        return model, utils

    return opened


def request_of(utils: Any, files: list[bytes]) -> Any:
    return utils.Request(utils.Tensor("image_file", np.array(files, object).reshape(-1, 1)))


@pytest.mark.parametrize("form", ["float32", "uint8"])
def test_the_preprocessing_and_the_graph_give_the_classifiers_own_answers(
    form: str, artifact_of_input, backend_model, encoded, tmp_path: Path
) -> None:
    folder = artifact_of_input(form)
    repository = export_triton(folder, tmp_path / "models")
    model, utils = backend_model(repository)
    files = encoded(3)
    responses = model.execute([request_of(utils, files[:2]), request_of(utils, files[2:])])
    made = np.concatenate([response.output_tensors[0].as_numpy() for response in responses])
    graph = session(repository / "motivnet_model" / "1" / "model.onnx")
    logits = graph.run(["logits"], {responses[0].output_tensors[0].name: made})[0]
    with EmotionClassifier.open(folder, runtime="onnxruntime", threads=1) as classifier:
        expected = classifier.predict(files)
    assert [classifier.labels[row.argmax()] for row in logits] == [
        prediction.label for prediction in expected
    ]
    preprocessing = open_artifact(folder).manifest.input.preprocessing
    images = [decode_image(file, name="image") for file in files]
    wanted = [
        preprocessing(image) if form == "float32" else preprocessing.pixels(image)
        for image in images
    ]
    np.testing.assert_array_equal(made, np.stack(wanted))


def test_a_bad_image_fails_its_own_request_alone(
    fp32_artifact: Path, backend_model, encoded, tmp_path: Path
) -> None:
    model, utils = backend_model(export_triton(fp32_artifact, tmp_path / "models"))
    [good] = encoded(1)
    first, second, third = model.execute(
        [request_of(utils, files) for files in ([good], [good, b"text"], [good])]
    )
    assert first.error is None
    assert third.error is None
    assert second.error.code == utils.TritonError.INVALID_ARG
    assert "image_file[1] is not a JPEG, PNG, WebP or BMP image" in second.error.message
    np.testing.assert_array_equal(
        first.output_tensors[0].as_numpy(), third.output_tensors[0].as_numpy()
    )

"""INT8 and FP8 by the real ModelOpt, run by real runtimes, compiled by TensorRT-RTX."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from packaging.requirements import Requirement

from motivnet.artifact import Artifact
from motivnet.artifact.engine_entry import EngineEntry
from motivnet.artifact.manifest import Manifest
from motivnet.config import ModelConfig
from motivnet.errors import ConfigError, EngineError, ExportError
from motivnet.labels import EMOTIONS
from motivnet.model import build_model
from motivnet.parity import AttentionForm, Outputs, compare
from motivnet.preprocess import Preprocessing
from motivnet.synthetic import synthetic_faces
from motivnet_engines.build.builder import engine_from_onnx
from motivnet_engines.build.options import EngineOptions
from motivnet_export import graph as graph_module
from motivnet_export.build import build_artifact
from motivnet_export.graph import check_onnx, product_dtypes, save_onnx
from motivnet_export.precision import apply_precision
from motivnet_export.quantise import modelopt_environment
from motivnet_export.quantise import quantise as quantisation
from motivnet_export.quantise.quantise import QuantisedPrecision, quantise_onnx
from motivnet_export.request import BuildRequest, InputForm

SIZE = (128, 96)
STRETCH = Preprocessing.named("stretch", size=SIZE)
ENCODER_LINEARS = 4  # query-key-value, projection, two of the feed-forward, in one layer
OTHER_PRODUCTS = 1 + 5 + 2  # the patches, the head's linear layers, the attentions
ATTENTIONS = 2
WHERE_TESTS_KEEP_IT = Path.home() / ".cache" / "motivnet-tests"

PRECISIONS: tuple[QuantisedPrecision, ...] = ("int8", "fp8")


@pytest.fixture(scope="session")
def modelopt() -> Iterator[Path]:
    """ModelOpt's own environment, made once for all test runs, and used by all that quantises."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(modelopt_environment.VARIABLE, raising=False)
        patch.setenv("XDG_CACHE_HOME", str(WHERE_TESTS_KEEP_IT))
        try:
            yield modelopt_environment.modelopt_python(print).executable
        except ExportError as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(str(error))


@pytest.fixture(scope="session")
def faces() -> NDArray[np.uint8]:
    """The images to calibrate on and, behind them, those to compare on."""
    return np.stack(list(synthetic_faces(24, seed=5, size=SIZE, labels=EMOTIONS)))


@pytest.fixture(scope="session")
def base_graph(graph_of: Callable[..., ir.Model]) -> Callable[..., ir.Model]:
    """A function that gives the small model's graph as quantisation takes it."""
    return functools.partial(graph_of, "int8")


@pytest.fixture(scope="session")
def base_file(
    base_graph: Callable[..., ir.Model], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    [path] = save_onnx(base_graph(), tmp_path_factory.mktemp("base") / "base.onnx")
    return path


@pytest.fixture(scope="session")
def quantised(
    modelopt: Path,
    tmp_path_factory: pytest.TempPathFactory,
    base_graph: Callable[..., ir.Model],
    faces: NDArray[np.uint8],
) -> dict[QuantisedPrecision, Path]:
    """The tiny model's fused graph in both precisions."""
    targets = {}
    for precision in PRECISIONS:
        targets[precision] = tmp_path_factory.mktemp(precision) / "model.onnx"
        images = STRETCH.normalise(faces[:16])
        quantise_onnx(
            base_graph(), targets[precision], precision=precision, images=images, on_message=unheard
        )
    return targets


def unheard(line: str) -> None:
    raise AssertionError(f"nothing should be announced here: {line}")


@pytest.fixture(scope="session")
def pytorch_outputs(small_config: ModelConfig) -> Callable[[NDArray[np.uint8]], Outputs]:
    model = build_model(small_config, seed=1)

    def outputs_of(pixels: NDArray[np.uint8]) -> Outputs:
        with torch.inference_mode():
            inputs = torch.from_numpy(STRETCH.normalise(pixels))
            logits, embedding = model.logits_and_embedding(inputs)
        return Outputs(logits=logits.numpy(), embedding=embedding.numpy(), seconds_per_image=0)

    return outputs_of


def onnxruntime_outputs(path: Path, inputs: NDArray[Any]) -> Outputs:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    logits, embedding = session.run(["logits", "embedding"], {"image": inputs})
    return Outputs(logits=logits, embedding=embedding, seconds_per_image=0)


def openvino_outputs(path: Path, inputs: NDArray[Any]) -> Outputs:
    openvino = pytest.importorskip("openvino")
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    result = compiled(inputs)
    return Outputs(logits=result["logits"], embedding=result["embedding"], seconds_per_image=0)


def error(outputs: Outputs, reference: Outputs) -> float:
    return float(np.abs(outputs.embedding - reference.embedding).max())


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_linear_layer_of_the_encoder_is_quantised_and_nothing_else(
    quantised: dict[QuantisedPrecision, Path], precision: QuantisedPrecision
) -> None:
    model = ir.load(quantised[precision])
    dtype = quantisation.GRAPH_DTYPES[precision]
    assert product_dtypes(model) == {dtype: ENCODER_LINEARS, "float16": OTHER_PRODUCTS}
    operators = Counter(node.op_type for node in model.graph)
    assert operators["QuantizeLinear"] == operators["DequantizeLinear"] == 2 * ENCODER_LINEARS
    assert operators["Attention"] == ATTENTIONS
    assert model.metadata_props[quantisation.METADATA_KEY] == "nvidia-modelopt 0.47.0, 16 images"


@pytest.mark.parametrize("outputs_of", [onnxruntime_outputs, openvino_outputs])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_quantised_graph_gives_the_model_with_the_error_of_its_precision(
    quantised: dict[QuantisedPrecision, Path],
    base_file: Path,
    pytorch_outputs: Callable[[NDArray[np.uint8]], Outputs],
    faces: NDArray[np.uint8],
    precision: QuantisedPrecision,
    outputs_of: Callable[[Path, NDArray[Any]], Outputs],
) -> None:
    check_onnx(quantised[precision])
    for count in (1, 3, 8):
        pixels = faces[-count:]
        inputs, reference = STRETCH.normalise(pixels), pytorch_outputs(pixels)
        outputs = outputs_of(quantised[precision], inputs)
        row = compare(
            "runtime", outputs, reference, compute="float32", evidence="graph", precision=precision
        )
        assert row.passed, row.failures
        # The runtime really computes with what was quantised, so that the gate measures it.
        assert error(outputs, reference) > 1.5 * error(outputs_of(base_file, inputs), reference)


def test_ranges_are_the_largest_magnitudes_on_the_images(
    quantised: dict[QuantisedPrecision, Path],
    base_graph: Callable[..., ir.Model],
    faces: NDArray[np.uint8],
) -> None:
    base = ir.serde.serialize_model(base_graph())
    # Behind a GELU the sign does not balance.
    gelu = next(node for node in base.graph.node if node.op_type in ("Gelu", "Erf"))
    later = base.graph.node[list(base.graph.node).index(gelu) :]
    name = next(node.name for node in later if node.op_type == "MatMul")
    linear = ir.load(quantised["int8"]).graph.node(name)
    activation = next(node.input[0] for node in base.graph.node if node.name == linear.name)
    base.graph.output.append(onnx.helper.make_empty_tensor_value_info(activation))
    session = onnxruntime.InferenceSession(
        base.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    seen = session.run([activation], {"image": STRETCH.normalise(faces[:16])})[0]
    dequantisation = linear.inputs[0].producer()  # type: ignore[union-attr]
    scale = dequantisation.inputs[1].const_value.numpy()  # type: ignore[union-attr]
    assert float(scale) * 127 == pytest.approx(float(np.abs(seen).max()), rel=2e-3)


def test_pixels_are_calibrated_on_as_the_graph_takes_them(
    modelopt: Path,
    base_graph: Callable[..., ir.Model],
    pytorch_outputs: Callable[[NDArray[np.uint8]], Outputs],
    faces: NDArray[np.uint8],
    tmp_path: Path,
) -> None:
    target = tmp_path / "model.onnx"
    quantise_onnx(
        base_graph(input_dtype="uint8"),
        target,
        precision="int8",
        images=faces[:8],
        on_message=unheard,
    )
    outputs = onnxruntime_outputs(target, faces[-4:])
    row = compare(
        "onnxruntime",
        outputs,
        pytorch_outputs(faces[-4:]),
        compute="float32",
        evidence="graph",
        precision="int8",
    )
    assert row.passed, row.failures


def test_products_of_a_decomposed_attention_are_not_quantised(
    modelopt: Path, base_graph: Callable[..., ir.Model], faces: NDArray[np.uint8], tmp_path: Path
) -> None:
    target = tmp_path / "model.onnx"
    images = STRETCH.normalise(faces[:2])
    quantise_onnx(
        base_graph("decomposed"), target, precision="int8", images=images, on_message=unheard
    )
    assert product_dtypes(ir.load(target)) == {
        "int8": ENCODER_LINEARS,
        "float16": OTHER_PRODUCTS + ATTENTIONS,
    }


def test_weights_above_the_threshold_lie_beside_the_graph_and_it_computes_the_same(
    quantised: dict[QuantisedPrecision, Path],
    base_graph: Callable[..., ir.Model],
    faces: NDArray[np.uint8],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quantisation, "EXTERNAL_DATA_THRESHOLD", 30_000)
    monkeypatch.setattr(graph_module, "EXTERNAL_DATA_THRESHOLD", 30_000)
    target = tmp_path / "model.onnx"
    images = STRETCH.normalise(faces[:16])
    files = quantise_onnx(base_graph(), target, precision="int8", images=images, on_message=unheard)
    assert files == (target, tmp_path / "model.onnx.data")
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "model.onnx.data"}
    assert files[1].stat().st_size > 30_000
    inputs = STRETCH.normalise(faces[-2:])
    inline = onnxruntime_outputs(quantised["int8"], inputs)
    np.testing.assert_array_equal(onnxruntime_outputs(target, inputs).embedding, inline.embedding)


@pytest.fixture(scope="module")
def manifest(small_artifact: Callable[..., Artifact]) -> Manifest:
    return small_artifact("fp16").manifest


def with_precision(manifest: Manifest, precision: QuantisedPrecision) -> Manifest:
    document = json.loads(manifest.to_json()) | {"precision": precision}
    return Manifest.from_json(json.dumps(document).encode())


def compiled(graph: Path, out: Path, manifest: Manifest, *sms: str) -> EngineEntry:
    pytest.importorskip("tensorrt_rtx")
    options = EngineOptions(backend="tensorrt-rtx", compute_capabilities=sms)
    return engine_from_onnx(graph, out, manifest=manifest, options=options, on_message=print)


@pytest.mark.parametrize(
    ("precision", "sms"),
    [("int8", ("86",)), ("int8", ("86", "89")), ("fp8", ("89",)), ("fp8", ("89", "120"))],
)
def test_the_compiler_multiplies_in_the_narrow_dtype_and_keeps_attention_fused(
    quantised: dict[QuantisedPrecision, Path],
    manifest: Manifest,
    tmp_path: Path,
    precision: QuantisedPrecision,
    sms: tuple[str, ...],
) -> None:
    promised = with_precision(manifest, precision)
    proof = compiled(quantised[precision], tmp_path / "model.engine", promised, *sms).report
    assert proof.evidence == "compiler"
    # The compiler may join products of one input, and split that of query, key and value.
    assert proof.matrix_layers[quantisation.GRAPH_DTYPES[precision]] >= ENCODER_LINEARS
    assert proof.matrix_layers["float16"] <= OTHER_PRODUCTS
    assert set(proof.matrix_layers) == {quantisation.GRAPH_DTYPES[precision], "float16"}
    assert (proof.attention_layers, proof.attention_fused) == (ATTENTIONS, ATTENTIONS)


@pytest.mark.slow
@pytest.mark.parametrize("input_form", ["float32", "uint8", "image"])
@pytest.mark.parametrize("attention", ["fused", "decomposed"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_compiler_takes_every_form_of_attention_and_input(
    modelopt: Path,
    export: Callable[..., ir.Model],
    small_config: ModelConfig,
    manifest: Manifest,
    faces: NDArray[np.uint8],
    tmp_path: Path,
    precision: QuantisedPrecision,
    attention: AttentionForm,
    input_form: InputForm,
) -> None:
    model = build_model(small_config, seed=1)
    apply_precision(model, precision)
    entry = msgspec.structs.replace(
        manifest.input,
        dtype="float32" if input_form == "float32" else "uint8",
        any_size=input_form == "image",
    )
    graph = export(
        model,
        attention=attention,
        input_dtype=entry.dtype,
        any_size=entry.any_size,
        preprocessing=STRETCH,
    )
    images = STRETCH.normalise(faces[:4]) if input_form == "float32" else faces[:4]
    target = tmp_path / "model.onnx"
    quantise_onnx(graph, target, precision=precision, images=images, on_message=unheard)
    promised = msgspec.structs.replace(
        with_precision(manifest, precision), input=entry, attention=attention
    )

    proof = compiled(target, tmp_path / "model.engine", promised, "89").report

    assert proof.matrix_layers[quantisation.GRAPH_DTYPES[precision]] >= ENCODER_LINEARS
    assert set(proof.matrix_layers) == {quantisation.GRAPH_DTYPES[precision], "float16"}
    assert (proof.attention_layers, proof.attention_fused) == (ATTENTIONS, ATTENTIONS)


def test_fp8_is_refused_where_the_hardware_has_none(
    quantised: dict[QuantisedPrecision, Path], manifest: Manifest, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="SM 86 has no FP8"):
        compiled(quantised["fp8"], tmp_path / "model.engine", with_precision(manifest, "fp8"), "86")
    with pytest.raises(
        EngineError, match="fp8"
    ):  # the compiler itself, of a graph that hides what it is
        compiled(quantised["fp8"], tmp_path / "model.engine", manifest, "86")
    assert not any(tmp_path.iterdir())


def test_a_build_without_images_in_its_folder_is_refused(
    small_checkpoint: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    request = BuildRequest(
        checkpoint=small_checkpoint,
        out=tmp_path / "artifact",
        precision="int8",
        num_images=1,
        calibration_images=folder,
        strict=True,
    )
    with pytest.raises(ConfigError, match="has no image"):
        build_artifact(request)


def test_modelopts_own_words_are_in_the_error(
    modelopt: Path, base_graph: Callable[..., ir.Model], tmp_path: Path
) -> None:
    wrong_size = np.zeros((1, 3, 64, 64), np.float32)
    with pytest.raises(
        ExportError,
        match=r"nvidia-modelopt could not quantise the graph: InvalidArgument.*dimensions",
    ):
        quantise_onnx(
            base_graph(),
            tmp_path / "model.onnx",
            precision="int8",
            images=wrong_size,
            on_message=unheard,
        )
    assert not any(tmp_path.iterdir())


def test_what_is_installed_is_what_modelopt_asks_for_but_for_a_faster_onnxruntime(
    modelopt: Path,
) -> None:
    script = (
        "import importlib.metadata as m, json; print(json.dumps(m.requires('nvidia-modelopt')))"
    )
    done = subprocess.run(
        [modelopt, "-I", "-c", script], capture_output=True, text=True, check=True
    )
    asked = [Requirement(text) for text in json.loads(done.stdout)]
    wanted = {
        requirement.name.lower().replace("-gpu", ""): requirement
        for requirement in asked
        if requirement.marker is None or requirement.marker.evaluate({"extra": "onnx"})
    }
    pinned = dict(
        re.findall(r"^(\S+)==(\S+)", modelopt_environment.REQUIREMENTS.read_text(), re.MULTILINE)
    )
    refused = {
        name
        for name, version in pinned.items()
        if name in wanted and version not in wanted[name].specifier
    }
    assert refused == {"onnxruntime"}
    assert {"onnx", "onnxslim", "onnx-graphsurgeon"} < set(wanted)

"""Exports of models that keep some of their tokens: every form, every runtime, and what is said."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from motivnet.artifact import Artifact, open_artifact
from motivnet.artifact.manifest import InputDtype
from motivnet.checkpoints import save_model
from motivnet.config import ModelConfig
from motivnet.labels import labels_for
from motivnet.model import build_model
from motivnet.parity import AttentionForm, Precision
from motivnet_engines.build.builder import engine_from_onnx
from motivnet_engines.build.options import EngineOptions
from motivnet_engines.runtimes.selection import open_runtime
from motivnet_export.build import build_artifact
from motivnet_export.cli import app
from motivnet_export.request import BuildRequest
from motivnet_export.verify import verify_artifact

KEPT = tuple(position for position in range(48) if position % 5 < 3)
FORMS = [
    (precision, attention, form)
    for precision in ("fp32", "fp16")
    for attention in ("fused", "decomposed")
    for form in ("float32", "uint8", "image")
]


@pytest.fixture(scope="module")
def checkpoint(small_config: ModelConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kept") / "some.safetensors"
    config = small_config.keeping(KEPT)
    save_model(
        build_model(config, seed=1), path, config=config, labels=labels_for(7), preprocessing=None
    )
    return path


@pytest.fixture(scope="module")
def artifact_of(
    checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Artifact]:
    made: dict[tuple[str, str, str], Path] = {}

    def build(precision: Precision, attention: AttentionForm, form: str) -> Artifact:
        key = (precision, attention, form)
        if key not in made:
            made[key] = tmp_path_factory.mktemp("artifacts") / "some"
            request = BuildRequest(
                checkpoint=checkpoint,
                out=made[key],
                precision=precision,
                attention=attention,
                input=form,  # type: ignore[arg-type]
                num_images=2,
                strict=True,
            )
            build_artifact(request)
        return open_artifact(made[key])

    return build


@pytest.mark.parametrize(("precision", "attention", "form"), FORMS)
def test_every_form_is_close_to_pytorch_with_the_same_tokens_in_every_runtime(
    artifact_of: Callable[..., Artifact],
    precision: Precision,
    attention: AttentionForm,
    form: InputDtype,
) -> None:
    artifact = artifact_of(precision, attention, form)
    manifest = artifact.manifest
    assert manifest.source.config.encoder.kept_tokens == KEPT
    assert manifest.parity.passed
    assert {"onnxruntime", "openvino"} <= {row.backend for row in manifest.parity.comparisons}
    graph = onnx.load(artifact.folder / manifest.model, load_external_data=False).graph
    gathers = [node for node in graph.node if node.op_type == "Gather"]
    constants = {
        each.name: onnx.numpy_helper.to_array(each)
        for each in graph.initializer
        if each.name in {node.input[1] for node in gathers} and each.dims == [len(KEPT)]
    }
    assert [tuple(array.tolist()) for array in constants.values()] == [KEPT]


def test_the_graph_computes_fewer_tokens_than_that_of_all(
    artifact_of: Callable[..., Artifact], small_artifact: Callable[..., Artifact]
) -> None:
    """A graph of all tokens, of which the rest were multiplied by zero, would be no cheaper."""
    counts = []
    for artifact in (artifact_of("fp32", "decomposed", "float32"), small_artifact("fp32")):
        path = artifact.folder / artifact.manifest.model
        shapes = onnx.shape_inference.infer_shapes(onnx.load(path)).graph.value_info
        dims = {
            tuple(each.dim_value for each in info.type.tensor_type.shape.dim[1:]) for info in shapes
        }
        counts.append({shape for shape in dims if shape in ((len(KEPT), 128), (48, 128))})
    assert counts == [{(len(KEPT), 128)}, {(48, 128)}]


@pytest.mark.compile
@pytest.mark.parametrize(
    ("precision", "attention"),  # TensorRT fuses no attention in FP32
    [("fp32", "decomposed"), ("fp16", "fused"), ("fp16", "decomposed")],
)
@pytest.mark.parametrize("form", ["float32", "uint8", "image"])
def test_the_real_compiler_takes_it(
    artifact_of: Callable[..., Artifact],
    tmp_path: Path,
    precision: Precision,
    attention: AttentionForm,
    form: InputDtype,
) -> None:
    pytest.importorskip("tensorrt_rtx")
    artifact = artifact_of(precision, attention, form)
    built = engine_from_onnx(
        artifact.folder / artifact.manifest.model,
        tmp_path / "model.engine",
        manifest=artifact.manifest,
        options=EngineOptions(backend="tensorrt-rtx", compute_capabilities=("86",)),
        on_message=lambda _: None,
    )
    assert (tmp_path / "model.engine").stat().st_size > 10_000
    assert built.report.attention_layers == 2


def test_a_graph_of_other_tokens_does_not_pass(
    artifact_of: Callable[..., Artifact], checkpoint: Path, tmp_path: Path
) -> None:
    """The comparison is with PyTorch of the tokens that the manifest names."""
    folder = Path(
        shutil.copytree(artifact_of("fp32", "decomposed", "float32").folder, tmp_path / "changed")
    )
    assert verify_artifact(open_artifact(folder), checkpoint=checkpoint, num_images=2).passed
    others = sorted({*KEPT[1:], 3})  # one other
    text = (folder / "manifest.json").read_text()
    document = json.loads(text)
    document["source"]["config"]["encoder"]["kept_tokens"] = others
    (folder / "manifest.json").write_text(json.dumps(document))
    report = verify_artifact(open_artifact(folder), checkpoint=checkpoint, num_images=2)
    assert not report.passed


def test_inspect_draws_the_tokens(artifact_of: Callable[..., Artifact]) -> None:
    folder = artifact_of("fp32", "decomposed", "float32").folder
    text = CliRunner().invoke(app, ["inspect", str(folder)], catch_exceptions=False).stdout
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert any(line.startswith("tokens keeps 30 of 48 tokens (") for line in lines)
    drawn = [
        "".join("#" if 6 * row + column in KEPT else "." for column in range(6)) for row in range(8)
    ]
    start = lines.index(drawn[0])
    assert lines[start : start + 8] == drawn


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_three_fifths_of_the_tokens_of_sapiens_0_3b_are_a_third_faster_and_more(
    tmp_path: Path,
) -> None:
    """At least 1.5 times, in alternating rounds on the default runtime of this processor."""
    whole = ModelConfig.named("sapiens-0.3b")
    share = range(whole.encoder.tokens * 3 // 5)  # which ones does not matter for time
    runtimes = {}
    for name, config in (("all", whole), ("some", whole.keeping(share))):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(config.to_dict()))
        request = BuildRequest(
            checkpoint=None, model=str(path), out=tmp_path / name, num_images=1, strict=True
        )
        runtimes[name] = open_runtime(build_artifact(request))
    image = np.zeros((1, 3, *whole.encoder.image_size), np.float32)
    seconds: dict[str, list[float]] = {name: [] for name in runtimes}
    for _ in range(3):
        for name, runtime in runtimes.items():
            start = time.perf_counter()
            runtime.run({"image": image})
            seconds[name].append(time.perf_counter() - start)
    found = {name: min(times[1:]) for name, times in seconds.items()}  # the first one warms up
    flop = whole.flop / whole.keeping(share).flop
    print(
        f"\n{found}, {found['all'] / found['some']:.2f} times faster, {flop:.2f} times fewer FLOP"
    )
    assert found["all"] / found["some"] >= 1.5

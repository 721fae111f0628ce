"""INT8 for OpenVINO by the real NNCF: what is quantised, what OpenVINO does, when it is kept."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from motivnet.artifact import Artifact
from motivnet.artifact.manifest import FileEntry, Manifest
from motivnet.artifact.quantisation import SpeedComparison
from motivnet.config import ModelConfig
from motivnet.dependencies import is_installed
from motivnet.errors import ExportError, MissingDependencyError
from motivnet.files import sha256_of
from motivnet.labels import EMOTIONS
from motivnet.preprocess import Preprocessing
from motivnet.synthetic import synthetic_faces
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.runtimes.openvino_ import OpenVINORuntime, has_bf16
from motivnet_engines.system import machine
from motivnet_engines.system.machine import Processor
from motivnet_export import fallback, int8_openvino
from motivnet_export.build import build_artifact
from motivnet_export.graph import product_dtypes
from motivnet_export.quantise import nncf_quantise
from motivnet_export.quantise.nncf_quantise import check_int8_pays, quantise_for_openvino
from motivnet_export.request import BuildRequest
from motivnet_export.verify import check_graph, verify_artifact

SIZE = (128, 96)
STRETCH = Preprocessing.named("stretch", size=SIZE)
ENCODER_LINEARS = 4  # query-key-value, projection, two of the feed-forward, in one layer
ATTENTIONS = 2
OLD_PROCESSOR = Processor(name="An Old CPU", flags=frozenset({"avx2", "avx512f"}))

needs_nncf = pytest.mark.skipif(
    not is_installed("nncf"), reason="needs nncf: pip install 'motivnet[int8-cpu]'"
)
needs_int8 = pytest.mark.skipif(
    not machine.multiplies_int8(), reason="needs a processor with VNNI, AMX or Arm's dot products"
)


@pytest.fixture(scope="module")
def inputs() -> NDArray[np.float32]:
    faces = np.stack(list(synthetic_faces(4, seed=5, size=SIZE, labels=EMOTIONS)))
    return STRETCH.normalise(faces)


def speed(ratio: float, lower_quartile: float) -> SpeedComparison:
    return SpeedComparison(
        runtime="openvino",
        baseline="openvino-bf16",
        milliseconds=10.0,
        baseline_milliseconds=10.0 * ratio,
        ratio=ratio,
        lower_quartile=lower_quartile,
        rounds=8,
        processor="This CPU",
    )


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> Callable[[float, float], None]:
    """A function that sets what the measurement of the speed will say."""

    def choose(ratio: float, lower_quartile: float) -> None:
        monkeypatch.setattr(int8_openvino, "compare_speed", lambda *_: speed(ratio, lower_quartile))

    return choose


def build(checkpoint: Path, out: Path, messages: list[str], **options: Any) -> Artifact:
    request = BuildRequest(
        checkpoint=checkpoint,
        out=out,
        precision="int8",
        num_images=2,
        for_openvino=True,
        **options,
    )
    return build_artifact(request, on_message=messages.append)


@pytest.fixture(scope="module")
def artifact(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """An artifact that is kept, as the measurement says that it is faster."""
    if not is_installed("nncf"):
        pytest.skip("needs nncf: pip install 'motivnet[int8-cpu]'")
    out = tmp_path_factory.mktemp("int8") / "artifact"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(int8_openvino, "compare_speed", lambda *_: speed(1.5, 1.2))
        patch.setattr(fallback, "check_int8_pays", lambda: None)
        return build(small_checkpoint, out, [], strict=True)


def test_linear_layers_of_the_encoder_are_int8_and_nothing_else(artifact: Artifact) -> None:
    check_graph(artifact)  # ONNX's checker, and the counts of the manifest
    counts = artifact.manifest.graph.compute_nodes
    assert counts["int8"] == ENCODER_LINEARS
    assert set(counts) == {"int8", "float32"}
    assert artifact.manifest.graph.attention_nodes == ATTENTIONS
    graph = ir.load(artifact.folder / "model.onnx").graph
    operators = Counter(node.op_type for node in graph)
    assert operators["DequantizeLinear"] == 2 * ENCODER_LINEARS
    weights = Counter(value.dtype for value in graph.initializers.values())
    assert weights[ir.DataType.INT8] >= ENCODER_LINEARS  # stored in a byte each
    assert {path.name for path in artifact.folder.iterdir()} == {
        *("manifest.json", "model.onnx", "reference.npz")
    }


@needs_int8
def test_openvino_computes_them_in_int8_and_attention_in_one_layer(artifact: Artifact) -> None:
    with OpenVINORuntime(artifact) as runtime:
        layers = runtime.compiled_layers()
    assert layers.linear["int8"] == ENCODER_LINEARS
    assert layers.split_attentions == 0
    quantisation = artifact.manifest.quantisation
    assert quantisation is not None
    assert quantisation.linear_layers == layers.linear
    assert quantisation.fused_attentions == ATTENTIONS


def test_the_manifest_says_what_was_tried_and_measured(artifact: Artifact) -> None:
    manifest = Manifest.from_json(artifact.manifest.to_json())
    assert (manifest.precision, manifest.requested_precision) == ("int8", "int8")
    quantisation = manifest.quantisation
    assert quantisation is not None
    assert quantisation.tool.startswith("nncf 3.")
    assert quantisation.speed == speed(1.5, 1.2)
    assert [each.smooth_quant for each in quantisation.variants] == [False, True]
    errors = {each.smooth_quant: each.comparison.logit_max_abs for each in quantisation.variants}
    assert errors[quantisation.smooth_quant] == min(errors.values())
    assert errors[False] != errors[True]
    warnings = " ".join(manifest.parity.warnings)
    assert f"kept {'with' if quantisation.smooth_quant else 'without'} SmoothQuant" in warnings
    assert "1.50x" in warnings
    assert "drawn faces" in warnings
    assert manifest.tools["nncf"] in quantisation.tool


@needs_int8
def test_each_runtime_is_compared_by_what_it_computes_in(artifact: Artifact) -> None:
    rows = {row.backend: row for row in artifact.manifest.parity.comparisons}
    assert (rows["openvino"].compute, rows["openvino"].evidence) == ("int8", "graph")
    assert (rows["onnxruntime"].compute, rows["onnxruntime"].evidence) == ("float32", "graph")
    if has_bf16():
        bf16 = rows["openvino-bf16"]
        assert (bf16.compute, bf16.evidence) == ("int8", "runtime")
    assert all(row.passed for row in rows.values())
    # INT8 really is computed, and not FP32 under its name.
    assert rows["openvino"].embedding_cosine < 0.99999


def test_the_artifact_answers_and_is_verified_again(
    artifact: Artifact, small_checkpoint: Path
) -> None:
    [face] = synthetic_faces(1, seed=9, size=SIZE, labels=EMOTIONS)
    with EmotionClassifier.open(artifact.folder) as classifier:
        assert classifier.runtime.name.startswith("openvino")
        assert len(classifier.predict([face])) == 1
    report = verify_artifact(artifact, checkpoint=small_checkpoint, num_images=2)
    assert report.passed
    assert "rounding" not in {row.evidence for row in report.comparisons}


@needs_nncf
@pytest.mark.parametrize("lower_quartile", [0.98, 1.0])
def test_what_is_not_faster_is_given_up_with_the_figures(
    lower_quartile: float,
    small_checkpoint: Path,
    tmp_path: Path,
    timed: Callable[[float, float], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fallback, "check_int8_pays", lambda: None)
    timed(1.04, lower_quartile)
    messages: list[str] = []
    built = build(small_checkpoint, tmp_path / "artifact", messages)
    assert (built.manifest.precision, built.manifest.quantisation) == ("fp16", None)
    [attempt] = built.manifest.attempts
    for text in ("not faster", "1.04x", f"{lower_quartile:.2f}x", "This CPU", "SmoothQuant"):
        assert text in attempt.reason
    assert messages == [f"int8 is given up: {attempt.reason}"]
    assert {path.name for path in built.folder.iterdir()} == {
        *("manifest.json", "model.onnx", "reference.npz")
    }


@needs_nncf
def test_with_strict_what_is_not_faster_is_an_error_and_nothing_is_written(
    small_checkpoint: Path,
    tmp_path: Path,
    timed: Callable[[float, float], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fallback, "check_int8_pays", lambda: None)
    timed(0.9, 0.8)
    with pytest.raises(ExportError, match=r"INT8 is not faster here.* 0\.90x"):
        build(small_checkpoint, tmp_path / "artifact", [], strict=True)
    assert list(tmp_path.iterdir()) == []


def test_a_processor_without_instructions_is_told_what_to_do_and_nothing_is_quantised(
    small_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (machine, nncf_quantise):
        monkeypatch.setattr(module, "read_processor", lambda: OLD_PROCESSOR)
    messages: list[str] = []
    built = build(small_checkpoint, tmp_path / "artifact", messages)
    assert built.manifest.precision == "fp16"
    [message] = messages
    for text in ("An Old CPU", "VNNI", "0.96 to 1.03x", "--image-size"):
        assert text in message
    with pytest.raises(ExportError, match="gains nothing"):
        build(small_checkpoint, tmp_path / "strict", [], strict=True)


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nncf_quantise, "multiplies_int8", lambda: True)
    monkeypatch.setattr(nncf_quantise, "is_installed", lambda name: name != "nncf")
    with pytest.raises(MissingDependencyError, match=r"motivnet\[int8-cpu\]"):
        check_int8_pays()


@needs_nncf
def test_products_of_attention_are_quantised_only_if_nncf_may_choose(
    graph_of: Callable[..., ir.Model],
    inputs: NDArray[np.float32],
    tmp_path: Path,
) -> None:
    graph = graph_of("fp32", "fused")
    for everything in (False, True):
        target = tmp_path / f"{everything}.onnx"
        quantise_for_openvino(graph, target, images=inputs, everything=everything)
        counts = product_dtypes(ir.load(target))
        assert (counts["int8"] > ENCODER_LINEARS) == everything


@needs_nncf
def test_a_layer_that_nncf_leaves_out_is_told(
    graph_of: Callable[..., ir.Model], inputs: NDArray[np.float32], tmp_path: Path
) -> None:
    """NNCF 3.4 does not quantise what a decomposed attention gives to its projection."""
    with pytest.raises(ExportError, match="nncf quantised 3 of the encoder's 4 linear layers"):
        quantise_for_openvino(graph_of("fp32", "decomposed"), tmp_path / "q.onnx", images=inputs)


def with_split_attention(path: Path) -> None:
    """Make the scores of one attention a part of the result, so that they must go to memory."""
    model = onnx.load(path)
    graph = model.graph
    softmax = next(node for node in graph.node if node.op_type == "Softmax")
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.asarray(value, dtype), name)
            for name, value, dtype in (
                ("axes", [1, 2, 3], np.int64),
                ("little", 1e-6, np.float32),
            )
        ]
    )
    last = next(node for node in graph.node if "logits" in node.output)
    last.output[0] = "before"
    graph.node.extend(
        [
            helper.make_node("ReduceSum", [softmax.output[0], "axes"], ["sums"], keepdims=0),
            helper.make_node("Unsqueeze", ["sums", "second"], ["column"]),
            helper.make_node("Mul", ["column", "little"], ["small"]),
            helper.make_node("Add", ["before", "small"], ["logits"]),
        ]
    )
    graph.initializer.append(numpy_helper.from_array(np.asarray([1], np.int64), "second"))
    onnx.save(model, path)


@pytest.mark.parametrize("is_split", [False, True])
def test_an_attention_that_openvino_splits_is_found(
    is_split: bool,
    small_artifact: Callable[..., Artifact],
    tmp_path: Path,
) -> None:
    base = small_artifact("fp32")
    path = tmp_path / "model.onnx"
    path.write_bytes((base.folder / "model.onnx").read_bytes())
    if is_split:
        with_split_attention(path)
    entry = FileEntry(path=path.name, size=path.stat().st_size, sha256=sha256_of(path))
    manifest = msgspec.structs.replace(base.manifest, files=(entry,), reference=None)
    changed = Artifact(folder=tmp_path, manifest=manifest)
    if is_split:
        with pytest.raises(ExportError, match="splits 1 attentions of the quantised graph, 0 of"):
            int8_openvino.check_layers(changed, base, linear=0)
    else:
        assert int8_openvino.check_layers(changed, base, linear=0).split_attentions == 0
    with pytest.raises(ExportError, match="computes 0 of the 4 quantised layers in int8"):
        int8_openvino.check_layers(changed, base, linear=ENCODER_LINEARS)


@needs_nncf
def test_nncfs_own_words_are_in_the_error(
    graph_of: Callable[..., ir.Model], tmp_path: Path
) -> None:
    wrong = np.zeros((1, 3, 64, 64), np.float32)
    with pytest.raises(ExportError, match=r"nncf could not quantise the graph: .*nvalid"):
        quantise_for_openvino(graph_of("fp32"), tmp_path / "model.onnx", images=wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_graph_above_two_gigabytes_is_refused_at_once(
    graph_of: Callable[..., ir.Model],
    inputs: NDArray[np.float32],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nncf_quantise, "EXTERNAL_DATA_THRESHOLD", 1_000)
    with pytest.raises(ExportError, match="up to 2 GB; use --precision bf16"):
        quantise_for_openvino(graph_of("fp32"), tmp_path / "model.onnx", images=inputs)


def test_too_little_memory_is_said_before_the_system_ends_processes(
    graph_of: Callable[..., ir.Model],
    inputs: NDArray[np.float32],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = dataclasses.replace(machine.read_machine(), memory_available=100_000)
    monkeypatch.setattr(nncf_quantise, "read_machine", lambda: here)
    with pytest.raises(ExportError, match=r"quantising takes about .* GB are free; close programs"):
        quantise_for_openvino(graph_of("fp32"), tmp_path / "model.onnx", images=inputs)


@needs_nncf
@needs_int8
@pytest.mark.slow
def test_sapiens_is_quantised_fused_and_measured(tmp_path: Path) -> None:
    """At 256x192: minutes, and eleven gigabytes."""
    messages: list[str] = []
    request = BuildRequest(
        model="sapiens-0.3b",
        image_size=(256, 192),
        out=tmp_path / "artifact",
        precision="int8",
        num_images=1,
        for_openvino=True,
    )
    manifest = build_artifact(request, on_message=messages.append).manifest
    if manifest.precision == "int8":
        assert manifest.quantisation is not None
        assert (
            manifest.quantisation.linear_layers["int8"]
            == 4 * ModelConfig.named("sapiens-0.3b").encoder.depth
        )
        assert manifest.quantisation.speed.is_faster
    else:
        assert "INT8 is not faster here" in manifest.attempts[0].reason

"""The exported graph: what is in it, and that it computes the model at every batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch

from motivnet.artifact.manifest import InputDtype
from motivnet.config import DecoderConfig, EncoderConfig, ModelConfig
from motivnet.errors import ExportError, FileError
from motivnet.files import atomic_path
from motivnet.model import MotivNet, build_model
from motivnet.parity import AttentionForm, Precision
from motivnet.preprocess import Preprocessing
from motivnet_export.graph import check_onnx, save_onnx, summarise
from motivnet_export.precision import apply_precision
from motivnet_export.torch_to_onnx import onnx_from_model

STRETCH = Preprocessing.named("stretch", size=(128, 96))
ENCODER_LAYERS = DECODER_LAYERS = 1

Export = Callable[..., ir.Model]


@pytest.fixture
def fused_fp16(graph_of: Export) -> ir.Model:
    return graph_of("fp16")


def pixels(count: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, 128, 96, 3), dtype=np.uint8)


def reference(model: MotivNet, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with torch.inference_mode():
        logits, embedding = model.logits_and_embedding(torch.from_numpy(STRETCH.normalise(images)))
    return logits.numpy(), embedding.numpy()


@pytest.mark.parametrize("attention", ["fused", "decomposed"])
@pytest.mark.parametrize("input_dtype", ["float32", "uint8"])
def test_fp32_export_is_the_model_at_any_batch(
    attention: AttentionForm,
    input_dtype: InputDtype,
    tmp_path: Path,
    graph_of: Export,
    small_config: ModelConfig,
) -> None:
    model = build_model(small_config, seed=1)
    save_onnx(graph_of("fp32", attention, input_dtype), tmp_path / "model.onnx")
    check_onnx(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(
        tmp_path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    for batch in (1, 3, 8):
        images = pixels(batch)
        fed = images if input_dtype == "uint8" else STRETCH.normalise(images)
        logits, embedding = session.run(["logits", "embedding"], {"image": fed})
        wanted_logits, wanted_embedding = reference(model, images)
        np.testing.assert_allclose(logits, wanted_logits, atol=1e-4)
        np.testing.assert_allclose(embedding, wanted_embedding, atol=1e-4)


def test_fused_graph_is_as_small_as_it_can_be(
    fused_fp16: ir.Model, graph_of: Export, small_config: ModelConfig
) -> None:
    operators = Counter(node.op_type for node in fused_fp16.graph.all_nodes())
    assert operators["Attention"] == ENCODER_LAYERS + DECODER_LAYERS
    assert not {"ScatterElements", "Loop", "If", "Softmax"} & set(operators)
    deeper = EncoderConfig(embed_dim=32, depth=2, num_heads=2, image_size=(128, 96))
    larger = graph_of("fp16", config=ModelConfig(encoder=deeper, decoder=small_config.decoder))
    per_layer = summarise(larger).nodes - summarise(fused_fp16).nodes
    assert per_layer <= 32
    # With a decoder layer, which has as many nodes at least, less than the published model's two.
    assert summarise(fused_fp16).nodes - ENCODER_LAYERS * per_layer <= 42


def test_decomposed_graph_has_no_attention_operator_and_computes_no_shapes(
    graph_of: Export,
) -> None:
    graph = graph_of("fp16", "decomposed")
    operators = Counter(node.op_type for node in graph.graph.all_nodes())
    assert summarise(graph).attention_nodes == 0
    assert operators["Softmax"] == ENCODER_LAYERS + DECODER_LAYERS
    assert operators["Shape"] <= 1
    assert not {"ScatterElements", "Loop", "If", "Slice"} & set(operators)


def test_no_node_depends_on_initialisers_alone(fused_fp16: ir.Model) -> None:
    for node in fused_fp16.graph.all_nodes():
        assert not all(value is None or value.is_initializer() for value in node.inputs), node


def test_fp16_graph_multiplies_in_fp16_and_keeps_stream_and_norms_in_fp32(
    fused_fp16: ir.Model,
) -> None:
    assert set(summarise(fused_fp16).compute_nodes) == {"float16"}
    norms = [node for node in fused_fp16.graph.all_nodes() if node.op_type == "LayerNormalization"]
    assert norms
    assert all(node.inputs[0].dtype == ir.DataType.FLOAT for node in norms)
    by_name = {output.name: output.dtype for output in fused_fp16.graph.outputs}
    assert by_name == {"logits": ir.DataType.FLOAT, "embedding": ir.DataType.FLOAT}


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", "float32"), ("fp16", "float16"), ("bf16", "bfloat16")]
)
def test_summary_shows_the_precision(precision: Precision, dtype: str, graph_of: Export) -> None:
    summary = summarise(graph_of(precision))
    assert set(summary.compute_nodes) == {dtype}
    assert max(summary.weight_bytes, key=lambda name: summary.weight_bytes[name]) == dtype


def test_batch_is_free_and_the_image_size_is_not(fused_fp16: ir.Model) -> None:
    shape = fused_fp16.graph.inputs[0].shape
    assert shape is not None
    assert not isinstance(shape[0], int)
    assert list(shape[1:]) == [3, 128, 96]


def test_uint8_input_is_cast_before_anything_else(graph_of: Export) -> None:
    graph = graph_of("fp32", "fused", "uint8").graph
    assert graph.inputs[0].dtype == ir.DataType.UINT8
    consumers = {node.op_type for node in graph.inputs[0].consumers()}
    assert consumers <= {"Cast", "Shape"}


def test_graph_carries_nothing_of_the_machine_it_was_made_on(fused_fp16: ir.Model) -> None:
    text = ir.serde.serialize_model(fused_fp16).SerializeToString()
    assert str(Path(__file__).resolve().parents[2]).encode() not in text
    assert b"site-packages" not in text


def test_two_exports_are_the_same_bytes(fused_fp16: ir.Model, small_config: ModelConfig) -> None:
    model = build_model(small_config, seed=1)
    apply_precision(model, "fp16")
    again = onnx_from_model(model, attention="fused", input_dtype="float32", preprocessing=STRETCH)
    first, second = (
        ir.serde.serialize_model(graph).SerializeToString() for graph in (fused_fp16, again)
    )
    assert first == second


@pytest.mark.parametrize(
    ("precision", "attention", "opset"),
    [
        ("fp16", "fused", 23),
        ("fp16", "decomposed", 20),
        ("fp32", "decomposed", 20),
        ("bf16", "decomposed", 22),
    ],
)
def test_opset_is_the_lowest_that_has_the_operators(
    precision: Precision, attention: AttentionForm, opset: int, tmp_path: Path, graph_of: Export
) -> None:
    graph = graph_of(precision, attention)
    assert graph.graph.opset_imports[""] == opset
    save_onnx(graph, tmp_path / "model.onnx")
    check_onnx(tmp_path / "model.onnx")


@pytest.mark.parametrize(("groups", "classes"), [(8, 8), (3, 7), (1, 5)])
def test_any_number_of_classes_and_groups_exports(
    groups: int, classes: int, tmp_path: Path, graph_of: Export, small_config: ModelConfig
) -> None:
    decoder = DecoderConfig(
        embed_dim=32, num_heads=2, depth=1, mlp_dim=32, num_groups=groups, num_classes=classes
    )
    config = ModelConfig(encoder=small_config.encoder, decoder=decoder)
    path = tmp_path / "model.onnx"
    save_onnx(graph_of("fp32", config=config), path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    images = pixels(2)
    logits = session.run(["logits"], {"image": STRETCH.normalise(images)})[0]
    assert logits.shape == (2, classes)
    np.testing.assert_allclose(logits, reference(build_model(config, seed=1), images)[0], atol=1e-4)


def test_weights_above_the_threshold_go_into_a_file_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fused_fp16: ir.Model
) -> None:
    monkeypatch.setattr("motivnet_export.graph.EXTERNAL_DATA_THRESHOLD", 1000)
    files = save_onnx(fused_fp16, tmp_path / "model.onnx")
    assert [file.name for file in files] == ["model.onnx", "model.onnx.data"]
    check_onnx(files[0])
    assert files[1].stat().st_size > files[0].stat().st_size
    onnxruntime.InferenceSession(files[0], providers=["CPUExecutionProvider"])


def test_weights_that_the_disk_cannot_hold_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fused_fp16: ir.Model, file_growth
) -> None:
    monkeypatch.setattr("motivnet_export.graph.EXTERNAL_DATA_THRESHOLD", 1000)
    _, data = save_onnx(fused_fp16, tmp_path / "whole.onnx")
    size = data.stat().st_size
    for missing in (1, size // 2):
        with (
            file_growth(size - missing),
            pytest.raises(FileError, match="was not written"),
            atomic_path(tmp_path / "cut.onnx") as temporary,
        ):
            save_onnx(fused_fp16, temporary)


@pytest.mark.parametrize("stopped", [KeyboardInterrupt, ValueError])
def test_interrupt_inside_the_exporter_stays_an_interrupt(
    stopped: type[BaseException], monkeypatch: pytest.MonkeyPatch, small_config: ModelConfig
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        try:
            raise stopped
        except stopped as error:
            raise torch.onnx.errors.OnnxExporterError("step 1/3\ndetails") from error

    monkeypatch.setattr(torch.onnx, "export", fail)
    expected: Any = KeyboardInterrupt if stopped is KeyboardInterrupt else ExportError
    with pytest.raises(expected, match=r"could not export the model: step 1/3$|^$"):
        onnx_from_model(
            build_model(small_config),
            attention="fused",
            input_dtype="float32",
            preprocessing=STRETCH,
        )

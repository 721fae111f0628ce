"""Magnitudes per block, checked against an outlier planted by hand."""

from __future__ import annotations

import copy

import pytest
import torch

from motivnet.config import ModelConfig
from motivnet.model import MotivNet, build_model
from motivnet.parity import AttentionForm
from motivnet.preprocess import Preprocessing
from motivnet_export.precision import apply_precision, record_activations
from motivnet_export.torch_to_onnx import onnx_from_model


@pytest.fixture
def model() -> MotivNet:
    return build_model(ModelConfig.named("tiny"), seed=1)


def blocks(model: MotivNet) -> dict[str, tuple[float, float]]:
    with record_activations(model) as record, torch.inference_mode():
        model(torch.zeros(2, 3, 128, 96))
    return {block.block: (block.stream, block.compute) for block in record.blocks()}


def test_every_block_is_named_in_order_and_the_hooks_are_removed(model: MotivNet) -> None:
    assert list(blocks(model)) == [
        "encoder.patch_embed",
        *(f"encoder.blocks.{index}" for index in range(4)),
        "decoder.embed",
        "decoder.blocks.0",
        "decoder.blocks.1",
    ]
    assert not any(module._forward_hooks for module in model.modules())


def test_outlier_is_seen_where_it_is(model: MotivNet) -> None:
    with torch.no_grad():
        model.encoder.blocks[2].mlp.fc2.bias[5] = 70_000.0
    seen = blocks(model)
    assert seen["encoder.blocks.1"][0] < 100
    assert seen["encoder.blocks.2"] == pytest.approx((70_000, 70_000), rel=1e-3)
    assert seen["encoder.blocks.3"][0] == pytest.approx(70_000, rel=1e-3), "the stream keeps it"
    assert seen["encoder.blocks.3"][1] < 1_000, "a norm comes before every layer"


def test_nan_counts_as_the_largest_number(model: MotivNet) -> None:
    with torch.no_grad():
        model.encoder.blocks[0].mlp.fc2.bias[0] = torch.nan
    assert blocks(model)["encoder.blocks.0"][0] > 1e38


def test_the_scale_of_every_attention_goes_into_the_weights_and_changes_no_result(
    model: MotivNet,
) -> None:
    image = torch.randn(2, 3, 128, 96, generator=torch.Generator().manual_seed(3))
    folded = copy.deepcopy(model)
    for _ in range(2):
        apply_precision(folded, "fp32")

    scales = [module.scale for module in folded.modules() if hasattr(module, "scale")]
    assert scales == [1.0] * 6
    with torch.inference_mode():
        for found, expected in zip(
            folded.logits_and_embedding(image), model.logits_and_embedding(image), strict=True
        ):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("attention", ["fused", "decomposed"])
def test_no_graph_scales_a_query(attention: AttentionForm, model: MotivNet) -> None:
    apply_precision(model, "fp16")
    preprocessing = Preprocessing.named("stretch", size=(128, 96))
    graph = onnx_from_model(
        model, attention=attention, input_dtype="float32", preprocessing=preprocessing
    ).graph
    fused = [node for node in graph if node.op_type == "Attention"]
    assert [node.attributes["scale"].as_float() for node in fused] == (
        [1.0] * 6 if attention == "fused" else []
    )
    before_softmax = [
        node.inputs[0].producer().inputs[0].producer().op_type
        for node in graph
        if node.op_type == "Softmax"
    ]
    assert "Mul" not in before_softmax
    assert len(before_softmax) == (0 if attention == "fused" else 6)

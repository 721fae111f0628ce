"""Magnitudes per block, checked against an outlier planted by hand."""

from __future__ import annotations

import pytest
import torch

from motivnet.config import ModelConfig
from motivnet.model import MotivNet, build_model
from motivnet_export.precision import record_activations


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

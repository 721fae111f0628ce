"""Half precision simulated in FP32, beside PyTorch's own half arithmetic."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from motivnet.config import ModelConfig
from motivnet.model import MotivNet, build_model
from motivnet.parity import Precision
from motivnet_export.precision import apply_precision
from motivnet_export.rounding import SimulatedHalf

HALF = (torch.float16, torch.bfloat16)


def outputs(model: MotivNet, *, simulated: bool) -> tuple[Tensor, Tensor]:
    image = torch.randn(4, 3, 128, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        if not simulated:
            return model.logits_and_embedding(image)
        with SimulatedHalf():
            return model.logits_and_embedding(image)


def rms(difference: Tensor) -> float:
    return float(difference.float().square().mean().sqrt())


def plain(model: MotivNet) -> None:
    """Random weights, as they are."""


def outlier_on_the_stream(model: MotivNet) -> None:
    """A channel of the residual stream far beyond FP16, as large vision transformers have."""
    model.encoder.blocks[1].mlp.fc2.bias[5] = 70_000.0 / 2
    model.encoder.blocks[2].mlp.fc2.bias[5] = 70_000.0 / 2


def sharp_attention(model: MotivNet) -> None:
    """Scores that differ by hundreds: the softmax is nearly one-hot."""
    for block in model.encoder.blocks:
        block.attention.qkv.weight.mul_(12.0)


def large_hidden(model: MotivNet) -> None:
    """Hidden values in the thousands, where FP16 has steps of one to four."""
    model.encoder.blocks[1].mlp.fc1.bias.add_(3_000.0)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("change", [plain, outlier_on_the_stream, sharp_attention, large_hidden])
def test_it_predicts_the_error_of_half_arithmetic(change: object, precision: Precision) -> None:
    model = build_model(ModelConfig.named("tiny"), seed=1)
    with torch.no_grad():
        change(model)  # type: ignore[operator]
    exact_fp32 = outputs(model, simulated=False)
    apply_precision(model, precision)
    for fp32, own, simulated in zip(
        exact_fp32, outputs(model, simulated=False), outputs(model, simulated=True), strict=True
    ):
        error = rms(own - fp32)
        assert error > 0
        assert rms(simulated - fp32) == pytest.approx(error, rel=0.25)
        assert rms(simulated - own) < 0.6 * error, "the same numbers are rounded the same way"


def test_what_overflows_in_half_overflows_in_the_simulation() -> None:
    model = build_model(ModelConfig.named("tiny"), seed=1)
    with torch.no_grad():
        model.encoder.blocks[2].mlp.fc2.bias[5] = 70_000.0
    apply_precision(model, "fp16")
    for simulated in (False, True):
        logits, embedding = outputs(model, simulated=simulated)
        assert not torch.isfinite(embedding).all()
        assert not torch.isfinite(logits).all()


@pytest.mark.parametrize("dtype", HALF)
def test_products_accumulate_in_fp32_and_are_rounded_once(dtype: torch.dtype) -> None:
    """A sum of 4,096 ones and a last small term: half accumulation would stop growing."""
    ones = torch.ones(1, 4_096, dtype=dtype)
    with SimulatedHalf():
        assert functional.linear(ones, ones).item() == 4_096
        kernel = ones.reshape(1, 1, 64, 64)
        assert functional.conv2d(kernel, kernel).item() == 4_096
        third = functional.linear(ones[:, :1] / 3, ones[:, :1])
    assert third.dtype == dtype
    assert third.item() == (torch.ones((), dtype=dtype) / 3).item()


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("queries", [1, 300])
def test_attention_is_that_of_pytorch_within_its_rounding(dtype: torch.dtype, queries: int) -> None:
    generator = torch.Generator().manual_seed(3)
    query = torch.randn(2, 3, queries, 16, generator=generator).to(dtype)
    key, value = (torch.randn(2, 3, 400, 16, generator=generator).to(dtype) for _ in range(2))
    wide = [tensor.float() for tensor in (query, key, value)]
    want = functional.scaled_dot_product_attention(*wide, scale=0.25)
    with SimulatedHalf():
        got = functional.scaled_dot_product_attention(query, key, value, scale=0.25)
    own = functional.scaled_dot_product_attention(query, key, value, scale=0.25)
    assert got.dtype == dtype
    assert got.shape == want.shape
    assert rms(got - want) == pytest.approx(rms(own - want), rel=0.25)


def test_fp32_is_left_alone() -> None:
    model = build_model(ModelConfig.named("tiny"), seed=1)
    for own, simulated in zip(
        outputs(model, simulated=False), outputs(model, simulated=True), strict=True
    ):
        assert torch.equal(own, simulated)

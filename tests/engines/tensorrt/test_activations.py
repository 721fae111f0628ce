"""The memory that an engine reserves for activations: the formula against the real compiler."""

from __future__ import annotations

from typing import Any

import pytest

from motivnet.artifact.manifest import Precision
from motivnet.config import ModelConfig
from motivnet_engines.build.activations import activation_bytes, score_bytes, unfused_bytes


@pytest.mark.parametrize("name", ["fp16", "fp32", "image"])
def test_the_estimate_is_near_what_the_compiler_reserves(rtx_engine: Any, name: str) -> None:
    engine = rtx_engine(name)
    manifest = engine.graph.manifest

    expected = activation_bytes(
        manifest.source.config,
        precision=manifest.precision,
        fused=manifest.precision != "fp32",
        batch=engine.built.profile.max_batch,
    )

    assert engine.built.proof.activation_bytes == pytest.approx(expected, rel=0.4)


@pytest.mark.parametrize(
    ("size", "precision", "fused", "seen"),
    [("sapiens-1b", "fp16", True, 94e6), ("sapiens-0.3b", "fp32", False, 1_260e6)],
)
def test_the_estimate_holds_at_published_sizes(
    size: str, precision: Precision, fused: bool, seen: float
) -> None:
    config = ModelConfig.named(size)

    expected = activation_bytes(config, precision=precision, fused=fused, batch=1)

    assert expected == pytest.approx(seen, rel=0.1)


def test_scores_are_one_number_for_each_pair_of_tokens_in_each_head() -> None:
    config = ModelConfig.named("sapiens-1b")

    assert score_bytes(config, precision="fp16", batch=1) == 24 * (64 * 48) ** 2 * 2
    assert score_bytes(config, precision="fp32", batch=8) == 16 * score_bytes(
        config, precision="fp16", batch=1
    )


@pytest.mark.parametrize(
    ("size", "told"),
    [
        ("tiny", False),
        ("sapiens-0.3b", True),
        ("sapiens-0.6b", True),
        ("sapiens-1b", True),
        ("sapiens-2b", True),
    ],
)
@pytest.mark.parametrize("batch", [1, 8])
def test_memory_tells_an_unfused_attention_at_every_published_size(
    size: str, told: bool, batch: int
) -> None:
    config = ModelConfig.named(size)

    threshold = unfused_bytes(config, precision="fp16", batch=batch)

    assert (threshold is not None) == told
    if threshold is not None:
        fused, unfused = (
            activation_bytes(config, precision="fp16", fused=state, batch=batch)
            for state in (True, False)
        )
        assert fused < threshold / 2 < threshold < unfused

"""Comparisons of numbers known by hand, and each tolerance on both sides of its edge."""

from __future__ import annotations

import numpy as np
import pytest

from motivnet.parity import TOLERANCES, Outputs, Precision, compare

REFERENCE = np.array([[2.0, 0.0, 0.0], [0.0, 3.0, 0.0]], np.float32)


def outputs(logits: np.ndarray, embedding: np.ndarray | None = None) -> Outputs:
    rows = np.ones((len(logits), 4), np.float32) if embedding is None else embedding
    return Outputs(logits=logits.astype(np.float32), embedding=rows, seconds_per_image=0.5)


def figures(actual: np.ndarray, precision: Precision = "fp16", embedding: np.ndarray | None = None):
    return compare(
        "some",
        outputs(actual, embedding),
        outputs(REFERENCE),
        compute="float32",
        evidence="graph",
        precision=precision,
    )


def test_equal_outputs_pass_every_precision() -> None:
    for precision in TOLERANCES:
        row = figures(REFERENCE.copy(), precision)
        assert row.passed
        assert (row.logit_cosine, row.logit_max_abs, row.top1_agreement) == (1.0, 0.0, 1.0)


def test_figures_of_a_known_difference() -> None:
    row = figures(REFERENCE + np.array([[0.0, 0.5, 0.0], [0, 0, 0]], np.float32))
    assert row.logit_max_abs == pytest.approx(0.5)
    assert row.logit_cosine == pytest.approx(2 / np.hypot(2, 0.5))
    assert row.top1_agreement == 1.0


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_logit_tolerance_scales_with_the_largest_reference_logit(precision: Precision) -> None:
    allowed = TOLERANCES[precision].logit * 3.0
    inside = figures(REFERENCE + np.float32(0.9 * allowed), precision)
    outside = figures(REFERENCE + np.float32(1.1 * allowed), precision)
    assert not any("logit_max_abs" in failure for failure in inside.failures)
    assert any("logit_max_abs" in failure for failure in outside.failures)


def test_flipped_class_fails() -> None:
    row = figures(REFERENCE[:, ::-1].copy())
    assert row.top1_agreement == 0.5
    assert any("top1_agreement" in failure for failure in row.failures)


def test_tied_classes_may_flip() -> None:
    tied = np.array([[1.0, 1.0 + 1e-4, 0.0]], np.float32)
    swapped = np.array([[1.0 + 1e-4, 1.0, 0.0]], np.float32)
    row = compare(
        "some",
        outputs(swapped),
        outputs(tied),
        compute="float32",
        evidence="graph",
        precision="fp16",
    )
    assert row.top1_agreement == 1.0


def test_embedding_is_compared_too() -> None:
    turned = np.ones((2, 4), np.float32) * np.array([1, -1, 1, 1], np.float32)
    row = figures(REFERENCE.copy(), embedding=turned)
    assert row.embedding_cosine == pytest.approx(0.5)
    assert any("embedding_cosine" in failure for failure in row.failures)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_fail_and_stay_json(bad: float) -> None:
    actual = REFERENCE.copy()
    actual[0, 0] = bad
    row = figures(actual)
    assert not row.passed
    assert all(
        np.isfinite(value)
        for value in (row.logit_cosine, row.logit_max_abs, row.probability_max_abs)
    )

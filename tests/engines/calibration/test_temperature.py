"""Temperatures and calibration errors, beside figures that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from motivnet.prediction import softmax
from motivnet_engines.calibration.temperature import (
    HIGHEST,
    LOWEST,
    calibration_error,
    fitted_temperature,
    negative_log_likelihood,
)


def drawn(temperature: float, *, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and classes drawn by their probabilities at this temperature."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(count, 5)) * 3
    chances = softmax((logits / temperature).astype(np.float32))
    return logits, np.array([generator.choice(5, p=row / row.sum()) for row in chances])


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_temperature_by_which_the_classes_were_drawn_is_found(temperature: float) -> None:
    assert fitted_temperature(*drawn(temperature)) == pytest.approx(temperature, rel=0.05)


def test_temperature_is_scipys_minimum() -> None:
    logits, classes = drawn(1.7, count=300)
    best = minimize_scalar(
        lambda log: negative_log_likelihood(logits / np.exp(log), classes),
        bounds=(-3, 3),
        method="bounded",
    )
    assert np.log(fitted_temperature(logits, classes)) == pytest.approx(best.x, abs=1e-4)


@pytest.mark.parametrize(("sign", "bound"), [(1, LOWEST), (-1, HIGHEST)])
def test_a_model_that_is_always_right_or_wrong_ends_at_a_bound(sign: int, bound: float) -> None:
    classes = np.arange(30) % 3
    assert fitted_temperature(sign * np.eye(3)[classes], classes) == pytest.approx(bound, rel=1e-3)


@pytest.mark.parametrize(
    ("confidence", "right", "error"),
    [(1.0, 1.0, 0.0), (1.0, 0.5, 0.5), (0.75, 0.5, 0.25), (0.55, 1.0, 0.45), (0.75, 0.75, 0.0)],
)
def test_calibration_error_is_the_gap_between_confidence_and_accuracy(
    confidence: float, right: float, error: float
) -> None:
    probabilities = np.tile([confidence, 1 - confidence], (100, 1))
    classes = (np.arange(100) >= 100 * right).astype(np.intp)
    assert calibration_error(probabilities, classes) == pytest.approx(error)


def test_gaps_of_different_bins_do_not_cancel() -> None:
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4]])
    assert calibration_error(probabilities, np.array([1, 0])) == pytest.approx((0.9 + 0.4) / 2)

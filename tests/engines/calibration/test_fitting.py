"""Calibrations fitted to labelled outputs, and the temperatures and errors beside known values."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from motivnet.errors import DatasetError
from motivnet.prediction import softmax
from motivnet_engines.calibration.fitting import (
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    calibration_error,
    fit_calibration,
    fit_temperature,
    fit_threshold,
    folds,
    negative_log_likelihood,
)


def test_threshold_keeps_at_least_95_of_100() -> None:
    assert fit_threshold(np.arange(100.0)) == 94
    assert fit_threshold(np.arange(101.0)) == 95


def test_every_image_is_in_one_fold_and_each_class_in_all() -> None:
    classes = np.repeat([0, 1, 2], [5, 23, 10])
    masks = np.stack(list(folds(classes)))
    assert (masks.sum(axis=0) == 1).all()
    assert all({*classes[mask]} == {0, 1, 2} for mask in masks)
    first = np.flatnonzero(masks[0] & (classes == 1))
    assert (np.diff(first) == 1).all()


def test_95_percent_of_images_never_seen_are_known(made_outputs) -> None:
    fitted = fit_calibration(made_outputs(100, seed=1))
    fresh = fitted.statistics.distances(made_outputs(1_000, seed=2).embedding)
    assert (fresh <= fitted.distance_threshold).mean() == pytest.approx(0.95, abs=0.03)
    assert fitted.known_share == pytest.approx(0.95, abs=0.02)


def test_threshold_is_not_chosen_on_images_that_the_covariance_is_of(made_outputs) -> None:
    """With few images in many dimensions their own distances are far too small."""
    outputs = made_outputs(12, width=60)
    fitted = fit_calibration(outputs)
    own = fitted.statistics.distances(outputs.embedding)
    assert fitted.distance_threshold > own.max()


def test_held_out_images_alone_choose_temperature_and_thresholds(made_outputs) -> None:
    outputs, held_out = made_outputs(30, seed=1), made_outputs(20, seed=2, sure=6.0)
    fitted = fit_calibration(outputs, held_out=held_out)
    assert fitted.temperature == fit_calibration(held_out).temperature
    distances = fitted.statistics.distances(held_out.embedding)
    assert (distances <= fitted.distance_threshold).mean() == pytest.approx(0.95, abs=0.0126)


def test_error_falls_where_the_model_was_too_sure(made_outputs) -> None:
    fitted = fit_calibration(made_outputs(500, sure=8.0))
    assert fitted.temperature > 1.5
    assert fitted.error_after < fitted.error_before / 2


@pytest.mark.parametrize(
    ("count", "classes", "message"),
    [
        (9, 7, "the class neutral has 9 images, and at least 10 are needed"),
        (
            12,
            3,
            "36 images cannot tell which distance 5 % of them exceed; give at least 40",
        ),
    ],
)
def test_too_few_images_are_refused(count: int, classes: int, message: str, made_outputs) -> None:
    with pytest.raises(DatasetError, match=message):
        fit_calibration(made_outputs(count, classes=classes))


def test_classes_without_images_are_left_out(made_outputs) -> None:
    outputs = made_outputs(30)
    some = outputs.classes != 1
    fewer = dataclasses.replace(
        outputs,
        classes=outputs.classes[some],
        logits=outputs.logits[some],
        embedding=outputs.embedding[some],
    )
    assert fit_calibration(fewer).statistics.means.shape == (3, 16)


def drawn(temperature: float, *, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and classes drawn by their probabilities at this temperature."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(count, 5)) * 3
    chances = softmax((logits / temperature).astype(np.float32))
    return logits, np.array([generator.choice(5, p=row / row.sum()) for row in chances])


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_temperature_by_which_the_classes_were_drawn_is_found(temperature: float) -> None:
    assert fit_temperature(*drawn(temperature)) == pytest.approx(temperature, rel=0.05)


def test_temperature_is_scipys_minimum() -> None:
    logits, classes = drawn(1.7, count=300)
    best = minimize_scalar(
        lambda log: negative_log_likelihood(logits / np.exp(log), classes),
        bounds=(-3, 3),
        method="bounded",
    )
    assert np.log(fit_temperature(logits, classes)) == pytest.approx(best.x, abs=1e-4)


@pytest.mark.parametrize(("sign", "bound"), [(1, MIN_TEMPERATURE), (-1, MAX_TEMPERATURE)])
def test_a_model_that_is_always_right_or_wrong_ends_at_a_bound(sign: int, bound: float) -> None:
    classes = np.arange(30) % 3
    assert fit_temperature(sign * np.eye(3)[classes], classes) == pytest.approx(bound, rel=1e-3)


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

"""Calibrations out of labelled outputs, judged by images that had no part in them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from motivnet.errors import DatasetError
from motivnet_engines.calibration.fitting import fitted_calibration, folds, threshold_below


def test_threshold_keeps_at_least_95_of_100() -> None:
    assert threshold_below(np.arange(100.0)) == 94
    assert threshold_below(np.arange(101.0)) == 95


def test_every_image_is_in_one_fold_and_each_class_in_all() -> None:
    classes = np.repeat([0, 1, 2], [5, 23, 10])
    masks = np.stack(list(folds(classes)))
    assert (masks.sum(axis=0) == 1).all()
    assert all({*classes[mask]} == {0, 1, 2} for mask in masks)
    first = np.flatnonzero(masks[0] & (classes == 1))
    assert (np.diff(first) == 1).all()


def test_95_percent_of_images_never_seen_are_known(made_outputs) -> None:
    fitted = fitted_calibration(made_outputs(100, seed=1))
    fresh = fitted.statistics.distances(made_outputs(1_000, seed=2).embedding)
    assert (fresh <= fitted.distance_threshold).mean() == pytest.approx(0.95, abs=0.03)
    assert fitted.known_share == pytest.approx(0.95, abs=0.02)


def test_threshold_is_not_chosen_on_images_that_the_covariance_is_of(made_outputs) -> None:
    """With few images in many dimensions their own distances are far too small."""
    outputs = made_outputs(12, width=60)
    fitted = fitted_calibration(outputs)
    own = fitted.statistics.distances(outputs.embedding)
    assert fitted.distance_threshold > own.max()


def test_held_out_images_alone_choose_temperature_and_thresholds(made_outputs) -> None:
    outputs, held_out = made_outputs(30, seed=1), made_outputs(20, seed=2, sure=6.0)
    fitted = fitted_calibration(outputs, held_out=held_out)
    assert fitted.temperature == fitted_calibration(held_out).temperature
    distances = fitted.statistics.distances(held_out.embedding)
    assert (distances <= fitted.distance_threshold).mean() == pytest.approx(0.95, abs=0.0126)


def test_error_falls_where_the_model_was_too_sure(made_outputs) -> None:
    fitted = fitted_calibration(made_outputs(500, sure=8.0))
    assert fitted.temperature > 1.5
    assert fitted.error_after < fitted.error_before / 2


@pytest.mark.parametrize(
    ("count", "classes", "message"),
    [
        (9, 7, "the class neutral has 9 images, and at least 10 are needed"),
        (
            12,
            3,
            "36 images are too few to tell which distance 5 % of them exceed; give at least 40",
        ),
    ],
)
def test_too_few_images_are_refused(count: int, classes: int, message: str, made_outputs) -> None:
    with pytest.raises(DatasetError, match=message):
        fitted_calibration(made_outputs(count, classes=classes))


def test_classes_without_images_are_left_out(made_outputs) -> None:
    outputs = made_outputs(30)
    some = outputs.classes != 1
    fewer = dataclasses.replace(
        outputs,
        classes=outputs.classes[some],
        logits=outputs.logits[some],
        embedding=outputs.embedding[some],
    )
    assert fitted_calibration(fewer).statistics.means.shape == (3, 16)

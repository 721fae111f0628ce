"""The covariance that all classes share, beside scikit-learn's, and the coordinates that it gives."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf

from motivnet.errors import DatasetError
from motivnet_engines.inference.whitening import (
    shrunk_covariance,
    unit_rows,
    whitening_within_classes,
)


@pytest.mark.parametrize(("count", "width"), [(500, 8), (40, 40), (6, 60), (3, 2)])
def test_covariance_is_scikit_learns_ledoit_wolf(count: int, width: int) -> None:
    generator = np.random.default_rng(0)
    residuals = generator.normal(size=(count, width)) * np.geomspace(0.01, 10, width)
    expected, _ = ledoit_wolf(residuals, assume_centered=True)
    np.testing.assert_allclose(shrunk_covariance(residuals), expected, rtol=1e-10, atol=1e-12)


def test_spread_within_a_class_is_one_in_every_direction() -> None:
    generator = np.random.default_rng(0)
    classes = np.repeat([0, 1], 2_000)
    features = (
        generator.normal(size=(4_000, 5)) * [0.01, 0.1, 1, 10, 100] + 1_000 * classes[:, None]
    )
    whitening = whitening_within_classes(features, classes)
    coordinates = whitening.coordinates(features)
    for place in (0, 1):
        own = coordinates[classes == place]
        assert np.cov(own.T)[np.triu_indices(5, 1)] == pytest.approx(0, abs=0.1)


def test_fewer_images_than_dimensions_still_give_coordinates() -> None:
    features = np.random.default_rng(0).normal(size=(10, 200))
    whitening = whitening_within_classes(features, np.repeat([0, 1], 5))
    assert np.isfinite(whitening.coordinates(features)).all()


def test_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    features = np.random.default_rng(0).normal(size=(64, 257))
    whitening = whitening_within_classes(features, np.repeat([0, 1], 32))
    together = whitening.coordinates(features)
    alone = np.concatenate([whitening.coordinates(row[None]) for row in features])
    assert (together == alone).all()


def test_no_rows_give_no_coordinates() -> None:
    whitening = whitening_within_classes(
        np.random.default_rng(0).normal(size=(20, 4)), np.repeat([0, 1], 10)
    )
    assert whitening.coordinates(np.empty((0, 4))).shape == (0, 4)


def test_images_that_are_all_the_same_are_refused() -> None:
    with pytest.raises(DatasetError, match="all the same to the model; give different faces"):
        whitening_within_classes(np.repeat(np.eye(2), 5, axis=0), np.repeat([0, 1], 5))


def test_lengths_are_one_and_a_zero_stays() -> None:
    rows = unit_rows(np.array([[3, 4], [0, 0]], np.float32))
    assert rows.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, 0]]

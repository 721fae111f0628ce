"""The whitening that all classes share, beside scikit-learn's covariance, and distances in it."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf

from motivnet.errors import DatasetError
from motivnet_engines.inference.class_statistics import (
    fit_class_statistics,
    fit_whitening,
    shrink_covariance,
    unit_rows,
)


@pytest.fixture
def embeddings():
    """A function: embeddings of ``count`` images of each of four classes, and the classes."""

    def made(count: int, *, width: int = 16) -> tuple[np.ndarray, np.ndarray]:
        generator = np.random.default_rng(0)
        places = np.repeat(np.arange(4), count)
        centres = 3 * np.random.default_rng(99).normal(size=(4, width))
        noise = generator.normal(size=(len(places), width)) * 0.3
        return (centres[places] + noise).astype(np.float32), places

    return made


@pytest.mark.parametrize(("count", "width"), [(500, 8), (40, 40), (6, 60), (3, 2)])
def test_covariance_is_scikit_learns_ledoit_wolf(count: int, width: int) -> None:
    generator = np.random.default_rng(0)
    residuals = generator.normal(size=(count, width)) * np.geomspace(0.01, 10, width)
    expected, _ = ledoit_wolf(residuals, assume_centered=True)
    np.testing.assert_allclose(shrink_covariance(residuals), expected, rtol=1e-10, atol=1e-12)


def test_spread_within_a_class_is_one_in_every_direction() -> None:
    generator = np.random.default_rng(0)
    classes = np.repeat([0, 1], 2_000)
    features = (
        generator.normal(size=(4_000, 5)) * [0.01, 0.1, 1, 10, 100] + 1_000 * classes[:, None]
    )
    whitening = fit_whitening(features, classes)
    coordinates = whitening.coordinates(features)
    for place in (0, 1):
        own = coordinates[classes == place]
        assert np.cov(own.T)[np.triu_indices(5, 1)] == pytest.approx(0, abs=0.1)


def test_fewer_images_than_dimensions_still_give_coordinates() -> None:
    features = np.random.default_rng(0).normal(size=(10, 200))
    whitening = fit_whitening(features, np.repeat([0, 1], 5))
    assert np.isfinite(whitening.coordinates(features)).all()


def test_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    features = np.random.default_rng(0).normal(size=(64, 257))
    whitening = fit_whitening(features, np.repeat([0, 1], 32))
    together = whitening.coordinates(features)
    alone = np.concatenate([whitening.coordinates(row[None]) for row in features])
    assert (together == alone).all()


def test_no_rows_give_no_coordinates() -> None:
    whitening = fit_whitening(np.random.default_rng(0).normal(size=(20, 4)), np.repeat([0, 1], 10))
    assert whitening.coordinates(np.empty((0, 4))).shape == (0, 4)


def test_images_that_are_all_the_same_are_refused() -> None:
    with pytest.raises(DatasetError, match="all the same to the model; give different faces"):
        fit_whitening(np.repeat(np.eye(2), 5, axis=0), np.repeat([0, 1], 5))


def test_lengths_are_one_and_a_zero_stays() -> None:
    rows = unit_rows(np.array([[3, 4], [0, 0]], np.float32))
    assert rows.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, 0]]


def test_distance_is_mahalanobis_from_the_nearest_mean(embeddings) -> None:
    embedding, classes = embeddings(50)
    found = fit_class_statistics(embedding, classes).distances(embedding)
    unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    means = np.stack([unit[classes == place].mean(axis=0) for place in range(4)])
    covariance, _ = ledoit_wolf(unit - means[classes], assume_centered=True)
    gaps = unit[:, None] - means
    squares = np.einsum("nkd,de,nke->nk", gaps, np.linalg.inv(covariance), gaps)
    assert found == pytest.approx(np.sqrt(squares.min(axis=1)), rel=1e-3)


def test_length_of_an_embedding_does_not_count(embeddings) -> None:
    embedding, classes = embeddings(20)
    statistics = fit_class_statistics(embedding, classes)
    assert statistics.distances(embedding * 7) == pytest.approx(
        statistics.distances(embedding), rel=1e-5
    )


def test_a_distance_is_the_same_in_any_batch(embeddings) -> None:
    embedding, classes = embeddings(40, width=131)
    statistics = fit_class_statistics(embedding, classes)
    alone = [statistics.distances(row[None])[0] for row in embedding]
    assert (statistics.distances(embedding) == alone).all()


def test_a_class_without_images_has_no_mean(embeddings) -> None:
    embedding, classes = embeddings(20)
    some = classes != 2
    statistics = fit_class_statistics(embedding[some], classes[some])
    assert statistics.means.shape == (3, 16)
    gone = statistics.distances(embedding[~some])
    assert gone.min() > statistics.distances(embedding[some]).max()

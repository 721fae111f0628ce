"""Distances from classes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf

from motivnet_engines.inference.class_statistics import statistics_of_classes


def test_distance_is_mahalanobis_from_the_nearest_mean(made_outputs) -> None:
    outputs = made_outputs(50)
    found = statistics_of_classes(outputs.embedding, outputs.classes).distances(outputs.embedding)
    unit = outputs.embedding / np.linalg.norm(outputs.embedding, axis=1, keepdims=True)
    means = np.stack([unit[outputs.classes == place].mean(axis=0) for place in range(4)])
    covariance, _ = ledoit_wolf(unit - means[outputs.classes], assume_centered=True)
    gaps = unit[:, None] - means
    squares = np.einsum("nkd,de,nke->nk", gaps, np.linalg.inv(covariance), gaps)
    assert found == pytest.approx(np.sqrt(squares.min(axis=1)), rel=1e-3)


def test_length_of_an_embedding_does_not_count(made_outputs) -> None:
    outputs = made_outputs(20)
    statistics = statistics_of_classes(outputs.embedding, outputs.classes)
    assert statistics.distances(outputs.embedding * 7) == pytest.approx(
        statistics.distances(outputs.embedding), rel=1e-5
    )


def test_a_distance_is_the_same_in_any_batch(made_outputs) -> None:
    outputs = made_outputs(40, width=131)
    statistics = statistics_of_classes(outputs.embedding, outputs.classes)
    alone = [statistics.distances(row[None])[0] for row in outputs.embedding]
    assert (statistics.distances(outputs.embedding) == alone).all()


def test_a_class_without_images_has_no_mean(made_outputs) -> None:
    outputs = made_outputs(20)
    some = outputs.classes != 2
    statistics = statistics_of_classes(outputs.embedding[some], outputs.classes[some])
    assert statistics.means.shape == (3, 16)
    gone = statistics.distances(outputs.embedding[~some])
    assert gone.min() > statistics.distances(outputs.embedding[some]).max()

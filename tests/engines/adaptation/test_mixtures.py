"""Mixtures: densities beside scikit-learn's, fitting, and merging."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from motivnet_engines.adaptation.mixtures import MAX_COMPONENTS, fit_mixture, merge_mixtures
from motivnet_engines.inference.heads import Mixture


def mixture_of(components: int, *, width: int = 7, seed: int = 0, images: int = 30) -> Mixture:
    generator = np.random.default_rng(seed)
    weights = generator.dirichlet(np.ones(components))
    return Mixture(
        images=images,
        weights=weights.astype(np.float32),
        means=generator.normal(size=(components, width)).astype(np.float32),
        variances=generator.uniform(0.1, 3, (components, width)).astype(np.float32),
    )


def scikit_learns(mixture: Mixture, coordinates: np.ndarray) -> np.ndarray:
    model = GaussianMixture(len(mixture.weights), covariance_type="diag")
    model.weights_ = mixture.weights.astype(np.float64)
    model.means_ = mixture.means.astype(np.float64)
    model.covariances_ = mixture.variances.astype(np.float64)
    model.precisions_cholesky_ = 1 / np.sqrt(model.covariances_)
    return np.asarray(model.score_samples(coordinates))


def moments(mixture: Mixture) -> tuple[np.ndarray, np.ndarray]:
    weights, means = mixture.weights[:, None].astype(np.float64), mixture.means.astype(np.float64)
    mean = (weights * means).sum(axis=0)
    return mean, (weights * (mixture.variances + np.square(means - mean))).sum(axis=0)


@pytest.mark.parametrize("components", [1, 3, 8])
@pytest.mark.parametrize("scale", [0.1, 1, 100])
def test_log_density_is_scikit_learns(components: int, scale: float) -> None:
    mixture = mixture_of(components)
    coordinates = np.random.default_rng(1).normal(size=(50, 7)) * scale
    np.testing.assert_allclose(
        mixture.log_density(coordinates), scikit_learns(mixture, coordinates), rtol=1e-9, atol=1e-6
    )


def test_log_density_does_not_depend_on_the_rows_beside() -> None:
    mixture, coordinates = mixture_of(5, width=131), np.random.default_rng(1).normal(size=(64, 131))
    alone = [mixture.log_density(row[None])[0] for row in coordinates]
    assert (mixture.log_density(coordinates) == alone).all()


def test_a_class_of_two_kinds_of_faces_gets_two_components() -> None:
    generator = np.random.default_rng(0)
    kinds = np.repeat([[20.0], [-20.0]], 30, axis=0) * np.eye(5)[0]
    mixture = fit_mixture(generator.normal(size=(60, 5)) + kinds)
    assert len(mixture.weights) >= 2
    middle, ends = mixture.log_density(np.array([[0, 0, 0, 0, 0], [20, 0, 0, 0, 0]]))
    assert ends - middle > 50


def test_a_handful_of_images_has_the_spread_of_all_classes() -> None:
    mixture = fit_mixture(np.random.default_rng(0).normal(size=(5, 100)) * 0.01)
    assert len(mixture.weights) == 1
    assert mixture.variances == pytest.approx(1, abs=0.1)


def test_merging_weights_by_the_images() -> None:
    both = merge_mixtures(mixture_of(2, images=30), mixture_of(3, seed=1, images=10))
    assert both.images == 40
    assert both.weights[:2].sum() == pytest.approx(0.75)
    assert both.weights.sum() == pytest.approx(1)
    np.testing.assert_array_equal(both.means[:2], mixture_of(2).means)


def test_merging_again_and_again_keeps_mean_and_spread_in_few_components() -> None:
    mixture = mixture_of(3, images=10)
    parts = [mixture]
    for seed in range(1, 8):
        parts.append(mixture_of(3, seed=seed, images=10))
        mixture = merge_mixtures(mixture, parts[-1])
    assert len(mixture.weights) == MAX_COMPONENTS
    assert mixture.images == 80
    together = Mixture(
        images=80,
        weights=np.concatenate([part.weights / 8 for part in parts]),
        means=np.concatenate([part.means for part in parts]),
        variances=np.concatenate([part.variances for part in parts]),
    )
    for found, expected in zip(moments(mixture), moments(together), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_two_that_are_most_alike_become_one() -> None:
    means = np.array([[10.0 * place] for place in range(8)] + [[0.1]], np.float32)
    first = Mixture(
        images=8,
        weights=np.full(8, 1 / 8, np.float32),
        means=means[:8],
        variances=np.ones((8, 1), np.float32),
    )
    second = Mixture(
        images=1,
        weights=np.ones(1, np.float32),
        means=means[8:],
        variances=np.ones((1, 1), np.float32),
    )
    both = merge_mixtures(first, second)
    assert sorted(both.means[:, 0].round(2).tolist()) == [
        pytest.approx(0.05, abs=0.01),
        *range(10, 80, 10),
    ]

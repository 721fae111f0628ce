from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from motivnet_bench.viability.similarity import (
    Moments,
    bootstrap,
    compute_moments,
    covariance_alignment,
    frechet_distance,
    mean_distance,
)

SHAPES = [(40, 6), (6, 40), (20, 20)]
"""More images than dimensions, fewer, and as many."""


def features(seed: int, shape: tuple[int, int] = (40, 6), *, shift: float = 0.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.normal(size=shape) @ random.normal(size=(shape[1], shape[1])) + shift


def gaussian(mean: np.ndarray, covariance: np.ndarray) -> Moments:
    return Moments(mean=np.asarray(mean, float), factor=np.linalg.cholesky(covariance).T)


def rotation(size: int, seed: int = 9) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


def distance(first: np.ndarray, second: np.ndarray) -> float:
    return frechet_distance(compute_moments(first), compute_moments(second))


def alignment(first: np.ndarray, second: np.ndarray) -> float:
    return covariance_alignment(compute_moments(first), compute_moments(second))


def textbook_frechet(first: np.ndarray, second: np.ndarray) -> float:
    a, b = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    means = first.mean(axis=0) - second.mean(axis=0)
    return float(means @ means + np.trace(a) + np.trace(b) - 2 * np.trace(np.real(sqrtm(a @ b))))


def textbook_alignment(first: np.ndarray, second: np.ndarray) -> float:
    size = first.shape[1]
    centring = np.eye(size) - 1 / size
    a, b = (centring @ np.cov(each, rowvar=False) @ centring for each in (first, second))
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


@pytest.mark.parametrize("shape", SHAPES)
def test_moments_are_those_of_numpy(shape):
    values = features(0, shape)
    found = compute_moments(values)
    assert found.mean == pytest.approx(values.mean(axis=0))
    np.testing.assert_allclose(
        found.factor.T @ found.factor, np.cov(values, rowvar=False), atol=1e-10
    )
    assert found.factor.shape[0] <= shape[1]


@pytest.mark.parametrize("shape", SHAPES)
def test_counts_stand_for_repeated_vectors(shape):
    values = features(0, shape)
    counts = np.random.default_rng(1).integers(0, 4, shape[0])
    weighted = compute_moments(values, counts)
    repeated = compute_moments(np.repeat(values, counts, axis=0))
    assert weighted.mean == pytest.approx(repeated.mean)
    np.testing.assert_allclose(
        weighted.factor.T @ weighted.factor, repeated.factor.T @ repeated.factor, atol=1e-10
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_equal_sets_are_at_distance_0_and_aligned(shape):
    same = features(0, shape, shift=5.0)
    assert distance(same, same) == pytest.approx(0.0, abs=1e-9)
    assert alignment(same, same) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_distance_is_the_formula_with_a_matrix_root(seed):
    first, second = features(seed), features(seed + 100, shift=1.0)
    assert distance(first, second) == pytest.approx(textbook_frechet(first, second))


@pytest.mark.parametrize("shape", SHAPES)
def test_alignment_is_the_formula_on_centred_covariances(shape):
    first, second = features(1, shape), features(2, shape)
    assert alignment(first, second) == pytest.approx(textbook_alignment(first, second))


def test_distance_between_commuting_gaussians_is_that_of_their_deviations():
    first = gaussian(np.array([1.0, 2.0, 3.0]), np.diag([1.0, 4.0, 9.0]))
    second = gaussian(np.array([1.0, 0.0, 3.0]), np.diag([4.0, 4.0, 1.0]))
    assert frechet_distance(first, second) == pytest.approx(2.0**2 + 1 + 0 + 2.0**2)
    assert mean_distance(first, second) == pytest.approx(4.0)


def test_distance_between_singular_gaussians_on_orthogonal_lines_is_the_sum_of_their_variances():
    first = Moments(mean=np.zeros(2), factor=np.array([[3.0, 0.0]]))
    second = Moments(mean=np.zeros(2), factor=np.array([[0.0, 4.0]]))
    assert frechet_distance(first, second) == pytest.approx(9 + 16)


def test_distance_is_symmetric_and_does_not_change_when_both_sets_are_turned():
    first, second, turn = features(1), features(2, shift=0.5), rotation(6)
    expected = pytest.approx(distance(first, second))
    assert distance(second, first) == expected
    assert distance(first @ turn, second @ turn) == expected


def test_alignment_does_not_change_with_order_scale_or_shift():
    first, second = features(1), features(2)
    expected = pytest.approx(alignment(first, second))
    order = np.random.default_rng(3).permutation(40)
    dimensions = np.random.default_rng(4).permutation(6)
    assert alignment(first[order], second) == expected
    assert alignment(first[:, dimensions], second[:, dimensions]) == expected
    assert alignment(3 * first + 7, second) == expected
    # Turned across the images, which are the features here.
    turned = rotation(40) @ (second - second.mean(axis=0))
    same_covariance = Moments(mean=np.zeros(6), factor=turned / np.sqrt(39))
    assert covariance_alignment(compute_moments(first), same_covariance) == expected


def test_sets_that_vary_in_dimensions_of_their_own_are_hardly_aligned():
    first, second = np.zeros((30, 200)), np.zeros((30, 200))
    first[:, 0], second[:, 1] = features(1, (30, 1))[:, 0], features(2, (30, 1))[:, 0]
    assert alignment(first, second) < 1e-3


def test_a_set_that_does_not_vary_is_aligned_with_nothing():
    still = compute_moments(np.full((3, 4), 0.1))
    assert not still.factor.any()
    assert covariance_alignment(still, compute_moments(features(0, (9, 4)))) == 0


def test_small_variances_keep_their_digits_beside_large_ones():
    scales = np.array([1e6, 1.0, 1e-6])
    first = gaussian(np.zeros(3), np.diag(scales))
    second = Moments(mean=np.zeros(3), factor=first.factor * np.array([1.0, 1.0, 2.0]))
    cross = np.linalg.svd(first.factor @ second.factor.T, compute_uv=False)
    assert cross == pytest.approx([1e6, 1.0, 2e-6], rel=1e-12)


def test_the_same_seed_gives_the_same_interval_and_another_one_another():
    first, second = features(1), features(2)
    statistics = {"frechet": frechet_distance}
    found = [
        bootstrap(first, second, statistics, resamples=30, seed=seed)["frechet"]
        for seed in (0, 0, 1)
    ]
    assert found[0] == found[1]
    assert (found[0].low, found[0].high) != (found[2].low, found[2].high)
    assert found[0].value == found[2].value == distance(first, second)


def test_the_interval_of_a_mean_is_that_of_its_standard_error():
    first, second = np.random.default_rng(0).normal(size=(400, 1)), np.zeros((400, 1))
    statistic = {"mean": lambda a, b: float(a.mean[0] - b.mean[0])}
    found = bootstrap(first, second, statistic, resamples=800, seed=0)["mean"]
    assert found.high - found.low == pytest.approx(2 * 1.96 * first.std() / 20, rel=0.1)
    assert found.inside


def test_an_interval_over_few_images_may_leave_its_figure_out():
    same = features(0, (6, 40))
    found = bootstrap(same, same, {"frechet": frechet_distance}, resamples=50, seed=0)["frechet"]
    assert not found.inside

"""A mixture of Gaussians with diagonal covariances: the whole memory of a class, once its images are gone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

MAX_COMPONENTS = 8
"""Of a class that was shown new people again and again; the two that are most alike become one then."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mixture:
    """Weights ``(M,)``, means ``(M, F)`` and variances ``(M, F)``, and the number of images they were fitted to."""

    images: int
    weights: NDArray[np.float32]
    means: NDArray[np.float32]
    variances: NDArray[np.float32]

    def log_density(self, coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
        """``(N,)`` of coordinates ``(N, F)``; a row's does not depend on the rows beside it."""
        variances = self.variances.astype(np.float64)
        squares = np.square(coordinates[:, None, :] - self.means) / variances  # (N, M, F)
        volumes = np.log(2 * math.pi * variances).sum(axis=1)
        parts = np.log(self.weights.astype(np.float64)) - (squares.sum(axis=2) + volumes) / 2
        largest = parts.max(axis=1)
        return np.asarray(
            largest + np.log(np.exp(parts - largest[:, None]).sum(axis=1)), np.float64
        )


def merged(first: Mixture, second: Mixture) -> Mixture:
    """Both mixtures as one, each weighted by its images."""
    images = first.images + second.images
    shares = [
        mixture.weights.astype(np.float64) * mixture.images / images for mixture in (first, second)
    ]
    weights = np.concatenate(shares)
    means = np.concatenate([first.means, second.means]).astype(np.float64)
    variances = np.concatenate([first.variances, second.variances]).astype(np.float64)
    while len(weights) > MAX_COMPONENTS:
        weights, means, variances = _joined(weights, means, variances)
    return Mixture(
        images=images,
        weights=weights.astype(np.float32),
        means=means.astype(np.float32),
        variances=variances.astype(np.float32),
    )


def _joined(
    weights: NDArray[np.float64], means: NDArray[np.float64], variances: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """One component fewer: the pair that loses least becomes one Gaussian of the same mean and
    variances.

    The loss is the bound of Runnalls 2007, "Kullback-Leibler approach to Gaussian mixture
    reduction".
    """
    pairs = list(combinations(range(len(weights)), 2))
    candidates = [_moments(weights, means, variances, pair) for pair in pairs]
    losses = [
        weight * np.log(variance).sum()
        - sum(weights[place] * np.log(variances[place]).sum() for place in pair)
        for pair, (weight, _, variance) in zip(pairs, candidates, strict=True)
    ]
    best = int(np.argmin(losses))
    weight, mean, variance = candidates[best]
    kept = [place for place in range(len(weights)) if place not in pairs[best]]
    return (
        np.append(weights[kept], weight),
        np.vstack([means[kept], mean]),
        np.vstack([variances[kept], variance]),
    )


def _moments(
    weights: NDArray[np.float64],
    means: NDArray[np.float64],
    variances: NDArray[np.float64],
    pair: tuple[int, int],
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Weight, mean and variances of two components taken together."""
    own, rows = list(pair), weights[list(pair), None]
    weight = float(rows.sum())
    mean = (rows * means[own]).sum(axis=0) / weight
    variance = (rows * (variances[own] + np.square(means[own] - mean))).sum(axis=0) / weight
    return weight, mean, variance

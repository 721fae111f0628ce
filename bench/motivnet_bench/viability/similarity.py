"""How similar two sets of feature vectors are, with bootstrap intervals.

Frechet distance and alignment of covariances are computed from the mean and from a factor F of the
covariance, ``covariance = F.T @ F``. The covariance itself is never formed: fewer images than
dimensions make it singular, and forming it costs half of the digits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from motivnet.terminal import announced, progress
from motivnet_bench.viability.result import Estimate

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """The mean ``(D,)`` of a set of vectors, and a factor ``(k, D)`` of their covariance.

    k is at most D, and at most the number of vectors.
    """

    mean: Floats
    factor: Floats


Statistic: TypeAlias = Callable[[Moments, Moments], float]


def compute_moments(features: Floats, counts: NDArray[np.int64] | None = None) -> Moments:
    """Return the moments of features ``(N, D)``, with N at least 2; the covariance is unbiased.

    Args:
        counts: How often each vector counts ``(N,)``, as in a bootstrap sample; None for once.
    """
    counts = np.ones(len(features), np.int64) if counts is None else counts
    # A repeated vector is one row with a weight: less work, and the same covariance.
    kept = features[counts > 0]
    weights = counts[counts > 0, None].astype(np.float64)
    # Relative to the first vector, the deviations of equal vectors are 0 and no rounding error.
    from_first = kept - kept[0]
    offset = (weights * from_first).sum(axis=0) / weights.sum()
    factor = np.sqrt(weights / (weights.sum() - 1)) * (from_first - offset)
    if len(factor) > factor.shape[1]:
        factor = np.linalg.qr(factor, mode="r")
    return Moments(mean=kept[0] + offset, factor=factor)


def frechet_distance(first: Moments, second: Moments) -> float:
    """Return the squared Frechet (2-Wasserstein) distance between Gaussians with these moments.

    ``|m - n|^2 + tr(A) + tr(B) - 2 tr((A^1/2 B A^1/2)^1/2)`` for means m, n and covariances A, B
    (Dowson & Landau 1982), the formula of the Frechet Inception Distance (Heusel et al. 2017). With
    ``A = F.T F`` and ``B = G.T G`` the symmetric product has the eigenvalues of
    ``(F G.T)(F G.T).T``, so that the last trace is the sum of the singular values of ``F G.T``: no
    root of a matrix, nothing complex, and small values keep their digits.
    """
    cross = np.linalg.svd(first.factor @ second.factor.T, compute_uv=False).sum()
    spread = np.square(first.factor).sum() + np.square(second.factor).sum()
    return max(0.0, mean_distance(first, second) + float(spread - 2 * cross))


def mean_distance(first: Moments, second: Moments) -> float:
    """Return the squared distance between the means, a part of the Frechet distance."""
    return float(np.square(first.mean - second.mean).sum())


def covariance_alignment(first: Moments, second: Moments) -> float:
    """Return the linear centred kernel alignment of two covariances (Kornblith et al. 2019).

    Alignment compares two descriptions of the same examples, and two folders have no image in
    common. What they have in common are the D dimensions of the embedding: each is an example,
    described in one folder by its values over that folder's images, in the other by its values over
    the other's. The linear kernel between dimensions is then the covariance ``(D, D)``, and with
    ``H = I - 1/D`` that centres it

        ``<H A H, H B H> / (|H A H| |H B H|)``

    in the Frobenius product: 1 if dimensions vary together in one folder exactly as in the other,
    but for the overall scale, and near 0 if they do not. The order of the images does not matter,
    nor that of the dimensions. It is 0 if one of the sets does not vary at all.
    """
    a, b = (
        moments.factor - moments.factor.mean(axis=1, keepdims=True) for moments in (first, second)
    )
    cross, norm_a, norm_b = (float(np.square(x @ y.T).sum()) for x, y in ((a, b), (a, a), (b, b)))
    scale = float(np.sqrt(norm_a) * np.sqrt(norm_b))
    return min(1.0, cross / scale) if scale > 0 else 0.0


def bootstrap(
    first: Floats, second: Floats, statistics: Mapping[str, Statistic], *, resamples: int, seed: int
) -> dict[str, Estimate]:
    """Return each statistic of two sets of features ``(N, D)`` with its percentile interval.

    A sample draws as many vectors from each set as it has, with replacement (Efron 1979); all
    statistics see the same samples. Repeated vectors make a sample less varied than its set, so
    that a distance between samples is larger on average than between the sets: with few vectors the
    whole interval may be above the statistic.
    """
    random = np.random.default_rng(seed)
    values: dict[str, list[float]] = {name: [] for name in statistics}
    with announced("bootstrap"), progress("bootstrap", total=resamples) as advance:
        for _ in range(resamples):
            sampled = _resample(first, random), _resample(second, random)
            for name, statistic in statistics.items():
                values[name].append(statistic(*sampled))
            advance(1)
    whole = compute_moments(first), compute_moments(second)
    estimates = {}
    for name, statistic in statistics.items():
        low, high = np.percentile(values[name], [2.5, 97.5])
        estimates[name] = Estimate(value=statistic(*whole), low=float(low), high=float(high))
    return estimates


def _resample(features: Floats, random: np.random.Generator) -> Moments:
    indices = random.integers(len(features), size=len(features))
    return compute_moments(features, np.bincount(indices, minlength=len(features)))

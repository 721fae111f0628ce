"""How alike two sets of feature vectors are: Frechet distance, and alignment of their covariances.

Both are computed from the mean and from a factor F of the covariance, ``covariance = F.T @ F``. The
covariance itself is never formed: fewer images than dimensions make it singular, and forming it
costs half of the digits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """The mean ``(D,)`` of a set of vectors, and a factor ``(k, D)`` of their covariance, k at most D or the count."""

    mean: Floats
    factor: Floats


def moments(features: Floats, counts: NDArray[np.int64] | None = None) -> Moments:
    """The moments of features ``(N, D)``, with N at least 2; the covariance is divided by N - 1.

    Args:
        counts: How often each vector counts ``(N,)``, as in a bootstrap sample; once if left out.
    """
    counts = np.ones(len(features), np.int64) if counts is None else counts
    kept = features[
        counts > 0
    ]  # a repeated vector is one row with a weight: less work, and the same covariance
    weights = counts[counts > 0, None].astype(np.float64)
    from_first = (
        kept - kept[0]
    )  # the deviations of equal vectors are then 0 and not a rounding error
    offset = (weights * from_first).sum(axis=0) / weights.sum()
    factor = np.sqrt(weights / (weights.sum() - 1)) * (from_first - offset)
    if len(factor) > factor.shape[1]:
        factor = np.linalg.qr(factor, mode="r")
    return Moments(mean=kept[0] + offset, factor=factor)


def frechet_distance(first: Moments, second: Moments) -> float:
    """The squared Frechet (2-Wasserstein) distance between the Gaussians with these moments (Dowson
    & Landau 1982).

    ``|m - n|^2 + tr(A) + tr(B) - 2 tr((A^1/2 B A^1/2)^1/2)`` for means m, n and covariances A, B,
    the formula of the Frechet Inception Distance (Heusel et al. 2017). With ``A = F.T F`` and ``B =
    G.T G`` the symmetric product has the eigenvalues of ``(F G.T)(F G.T).T``, so that the last
    trace is the sum of the singular values of ``F G.T``: no root of a matrix, nothing complex, and
    small values keep their digits.
    """
    cross = np.linalg.svd(first.factor @ second.factor.T, compute_uv=False).sum()
    spread = np.square(first.factor).sum() + np.square(second.factor).sum()
    return max(0.0, mean_distance(first, second) + float(spread - 2 * cross))


def mean_distance(first: Moments, second: Moments) -> float:
    """The squared distance between the means, the part of the Frechet distance that has no covariance in it."""
    return float(np.square(first.mean - second.mean).sum())


def covariance_alignment(first: Moments, second: Moments) -> float:
    """Linear centred kernel alignment of the two covariances, between 0 and 1 (Kornblith et al.
    2019).

    Alignment compares two descriptions of the same examples, and two folders have no image in
    common. What they have in common are the D dimensions of the embedding: each is an example,
    described in one folder by its values over that folder's images, in the other by its values over
    the other's. The linear kernel between dimensions is then the covariance ``(D, D)``, and with
    ``H = I - 1/D`` that centres it

        ``<H A H, H B H> / (|H A H| |H B H|)``

    in the Frobenius product: 1 where dimensions vary together in one folder exactly as in the
    other, but for the overall scale, and near 0 where they do not. The order of the images does not
    matter, nor that of the dimensions. It is 0 where one of the sets does not vary at all.
    """
    centred = [each.factor - each.factor.mean(axis=1, keepdims=True) for each in (first, second)]
    cross, one, other = (
        float(np.square(a @ b.T).sum())
        for a, b in ((centred[0], centred[1]), (centred[0],) * 2, (centred[1],) * 2)
    )
    scale = np.sqrt(one) * np.sqrt(other)
    return min(1.0, cross / float(scale)) if scale > 0 else 0.0

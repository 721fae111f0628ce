"""The worst gap in accuracy between groups: its bootstrap interval, and a permutation test.

The interval is that of the two groups that are farthest apart (Efron & Tibshirani 1993). They are
chosen because they are, so that the interval alone would find a gap in any data; whether there is
one, the test says. It gives the groups' names anew to images of the same class, many times, and
counts how often the farthest two are as far apart (Good 2005, "Permutation, Parametric, and
Bootstrap Tests of Hypotheses"). A group whose images are of harder classes is not taken for one
that the model fails.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from motivnet.schema import Schema

MIN_IMAGES = 10
"""Of a group that is compared: of fewer, one answer is more than ten points."""

ALPHA = 0.05
"""A gap is found if chance alone makes one as large less often than this."""

RESAMPLES = 10_000
PERMUTATIONS = 5_000
HALF_WIDTH = 5.0
"""Percentage points, for the number of images that would do."""

_Z = 1.959964
_AT_ONCE = 100
"""Permutations in memory."""


class Gap(Schema, frozen=True, kw_only=True):
    """The accuracy of ``best`` less that of ``worst`` in percentage points, with its 95 % interval.

    ``p`` is the share of permutations, and the data, in which the farthest two groups are as far
    apart.
    """

    best: str
    worst: str
    points: float
    low: float
    high: float
    p: float

    @property
    def found(self) -> bool:
        """Whether chance alone seldom makes such a gap."""
        return self.p < ALPHA


def worst_gap(
    right: NDArray[np.bool_], groups: NDArray[np.str_], classes: NDArray[np.int64], *, seed: int = 0
) -> Gap | None:
    """Return the gap between the groups that are farthest apart, None below two that are compared.

    Args:
        right: Which of N answers are right.
        groups: The group of each image ``(N,)``.
        classes: The true class of each ``(N,)``.
    """
    names, counts = np.unique(groups, return_counts=True)
    names = names[counts >= MIN_IMAGES]
    if len(names) < 2:
        return None
    kept = np.isin(groups, names)
    right, classes = right[kept], classes[kept]
    members = np.searchsorted(names, groups[kept])
    accuracy = _accuracies(right[None], members, len(names))[0]
    best = int(accuracy.argmax())
    worst = len(names) - 1 - int(accuracy[::-1].argmin())  # of equals two different ones
    random = np.random.default_rng(seed)
    low, high = _interval(right, members, best, worst, random)
    points = float(100 * (accuracy[best] - accuracy[worst]))
    return Gap(
        best=str(names[best]),
        worst=str(names[worst]),
        points=points,
        low=min(low, points),
        high=max(high, points),
        p=_p_value(right, members, classes, len(names), random),
    )


def accuracy_interval(right: int, images: int) -> tuple[float, float]:
    """Return the 95 % interval of an accuracy in percent (Wilson 1927)."""
    share, square = right / images, _Z**2 / images
    middle = (share + square / 2) / (1 + square)
    half = _Z * math.sqrt(share * (1 - share) / images + square / (4 * images)) / (1 + square)
    return 100 * max(0.0, middle - half), 100 * min(1.0, middle + half)


def images_for_half_width(right: int, images: int, points: float = HALF_WIDTH) -> int:
    """Return how many images give an accuracy like this an interval of so many points each way."""
    share = (right + 1) / (images + 2)
    return math.ceil(_Z**2 * share * (1 - share) / (points / 100) ** 2)


def _accuracies(
    right: NDArray[np.bool_], members: NDArray[np.intp], groups: int
) -> NDArray[np.float64]:
    """Return the accuracy by group ``(rows, groups)`` of rows of right answers ``(rows, N)``."""
    indicator = np.eye(groups)[members]  # (N, groups)
    return np.asarray(right @ indicator / indicator.sum(axis=0))


def _interval(
    right: NDArray[np.bool_],
    members: NDArray[np.intp],
    best: int,
    worst: int,
    random: np.random.Generator,
) -> tuple[float, float]:
    """Return the percentile interval of the gap of two groups, each resampled for itself."""
    shares = []
    for group in (best, worst):
        answers = right[members == group]
        # Each outcome counts one more: none is impossible because it was not seen.
        share = (answers.sum() + 1) / (len(answers) + 2)
        shares.append(random.binomial(len(answers), share, size=RESAMPLES) / len(answers))
    low, high = np.percentile(100 * (shares[0] - shares[1]), [2.5, 97.5])
    return float(low), float(high)


def _p_value(
    right: NDArray[np.bool_],
    members: NDArray[np.intp],
    classes: NDArray[np.int64],
    groups: int,
    random: np.random.Generator,
) -> float:
    """Return the p-value of the farthest two groups; the data counts as one permutation."""

    def gaps(rows: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.asarray(np.ptp(_accuracies(rows, members, groups), axis=1), np.float64)

    seen, as_far = gaps(right[None])[0], 0
    for start in range(0, PERMUTATIONS, _AT_ONCE):
        rows = np.repeat(right[None], min(_AT_ONCE, PERMUTATIONS - start), axis=0)
        # To exchange the answers among images of a class is to exchange the groups' names there.
        for each in np.unique(classes):
            of_class = np.flatnonzero(classes == each)
            rows[:, of_class] = random.permuted(rows[:, of_class], axis=1)
        as_far += int((gaps(rows) >= seen - 1e-12).sum())
    return (as_far + 1) / (PERMUTATIONS + 1)

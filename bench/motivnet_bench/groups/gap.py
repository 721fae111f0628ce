"""The worst gap in accuracy between groups: its bootstrap interval, and a permutation test.

The interval is that of the two groups that are farthest apart (Efron & Tibshirani 1993). They are
chosen because they are, so that the interval alone would find a gap in any data; whether there is
one, the test says. It shuffles the groups' names among images of the same class, many times, and
counts how often the farthest two are as far apart (Good 2005, "Permutation, Parametric, and
Bootstrap Tests of Hypotheses"). A group whose images are of harder classes is not taken for one
that the model fails.

Images of one person are alike: a model that fails a person fails several of them. Where the data
set names people, the interval resamples people and not images, and the test exchanges people who
have as many images of each class.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

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
    apart. ``exchanged`` is the share of the images or people that the permutations exchange at all,
    because another group has some like them.
    """

    best: str
    worst: str
    points: float
    low: float
    high: float
    p: float
    exchanged: float = 1.0

    @property
    def found(self) -> bool:
        """Whether chance alone seldom makes such a gap."""
        return self.p < ALPHA


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """U people, or U images where nobody knows of whom they are.

    A person with images in two groups counts as two: that makes the test the more careful.

    Attributes:
        right: Right answers of each ``(U,)``.
        images: Images of each ``(U,)``.
        members: The group of each ``(U,)``, an index.
        kinds: Those of the same kind have as many images of each class ``(U,)``.
    """

    right: NDArray[np.int64]
    images: NDArray[np.int64]
    members: NDArray[np.intp]
    kinds: NDArray[np.intp]

    @property
    def exchangeable(self) -> int:
        """How many are of a kind that several groups have: the test exchanges them."""
        pairs = np.unique(np.stack([self.kinds, self.members]), axis=1)
        kinds, groups = np.unique(pairs[0], return_counts=True)
        return int(np.isin(self.kinds, kinds[groups > 1]).sum())


def units_of(
    right: NDArray[np.bool_],
    members: NDArray[np.intp],
    classes: NDArray[np.int64],
    people: Sequence[str | None] | None = None,
) -> Units:
    """Return the people of N images, or the images themselves; see ``worst_gap``."""
    names: Sequence[str | None] = [None] * len(right) if people is None else people
    keys = [
        (int(member), name or index)
        for index, (member, name) in enumerate(zip(members, names, strict=True))
    ]
    places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    unit = np.array([places[key] for key in keys], np.intp)
    counts = np.zeros((len(places), int(classes.max()) + 1), np.int64)
    np.add.at(counts, (unit, classes), 1)
    _, kinds = np.unique(counts, axis=0, return_inverse=True)
    return Units(
        right=np.bincount(unit, weights=right, minlength=len(places)).astype(np.int64),
        images=counts.sum(axis=1),
        members=np.array([member for member, _ in places], np.intp),
        kinds=kinds.reshape(-1),
    )


def worst_gap(
    right: NDArray[np.bool_],
    groups: NDArray[np.str_],
    classes: NDArray[np.int64],
    people: Sequence[str | None] | None = None,
    *,
    seed: int = 0,
) -> Gap | None:
    """Return the gap between the groups that are farthest apart, None below two that are compared.

    Args:
        right: Which of N answers are right.
        groups: The group of each image ``(N,)``.
        classes: The true class of each ``(N,)``.
        people: Who is in each of the N images; None where nobody knows.
    """
    names, counts = np.unique(groups, return_counts=True)
    names = names[counts >= MIN_IMAGES]
    if len(names) < 2:
        return None
    kept = np.flatnonzero(np.isin(groups, names))
    members = np.searchsorted(names, groups[kept])
    known = None if people is None else [people[int(index)] for index in kept]
    units = units_of(right[kept], members, classes[kept], known)
    accuracy = _accuracies(units.right[None], units, len(names))[0]
    best = int(accuracy.argmax())
    worst = len(names) - 1 - int(accuracy[::-1].argmin())  # of equals two different ones
    random = np.random.default_rng(seed)
    shares = [_resampled(units, group, random) for group in (best, worst)]
    low, high = np.percentile(100 * (shares[0] - shares[1]), [2.5, 97.5])
    points = float(100 * (accuracy[best] - accuracy[worst]))
    return Gap(
        best=str(names[best]),
        worst=str(names[worst]),
        points=points,
        low=min(float(low), points),
        high=max(float(high), points),
        p=_p_value(units, len(names), random),
        exchanged=units.exchangeable / len(units.right),
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


def people_interval(units: Units, *, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the accuracy of one group's people in percent."""
    shares = _resampled(units, int(units.members[0]), np.random.default_rng(seed))
    accuracy = 100 * float(units.right.sum() / units.images.sum())
    low, high = np.percentile(100 * shares, [2.5, 97.5])
    return min(float(low), accuracy), max(float(high), accuracy)


def _accuracies(right: NDArray[np.int64], units: Units, groups: int) -> NDArray[np.float64]:
    """Return the accuracy by group ``(rows, groups)`` of rows of right answers ``(rows, U)``."""
    indicator = np.eye(groups)[units.members]  # (U, groups)
    return np.asarray(right @ indicator / (units.images @ indicator))


def _resampled(units: Units, group: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Return the accuracies of a group whose units are resampled, ``RESAMPLES`` times."""
    own = units.members == group
    outcomes, times = np.unique(
        np.stack([units.right[own], units.images[own]], axis=1), axis=0, return_counts=True
    )
    # Two units more, all wrong and all right: none is impossible because it was not seen.
    images = math.ceil(units.images[own].mean())
    outcomes = np.concatenate([outcomes, [[0, images], [images, images]]])
    chances = np.concatenate([times, [1, 1]]) / (times.sum() + 2)
    drawn = random.multinomial(times.sum(), chances, size=RESAMPLES)
    return np.asarray((drawn @ outcomes[:, 0]) / (drawn @ outcomes[:, 1]), np.float64)


def _p_value(units: Units, groups: int, random: np.random.Generator) -> float:
    """Return the p-value of the farthest two groups; the data counts as one permutation."""

    def gaps(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(np.ptp(_accuracies(rows, units, groups), axis=1), np.float64)

    seen, as_far = gaps(units.right[None])[0], 0
    kinds = [np.flatnonzero(units.kinds == kind) for kind in np.unique(units.kinds)]
    for start in range(0, PERMUTATIONS, _AT_ONCE):
        rows = np.repeat(units.right[None], min(_AT_ONCE, PERMUTATIONS - start), axis=0)
        # To exchange the answers among units of a kind is to exchange the groups' names there.
        for of_kind in kinds:
            rows[:, of_kind] = random.permuted(rows[:, of_kind], axis=1)
        as_far += int((gaps(rows) >= seen - 1e-12).sum())
    return (as_far + 1) / (PERMUTATIONS + 1)

"""Accuracy and the loss of it, with bootstrap intervals (Efron & Tibshirani 1993).

The full model and a point answer the same images. Whether an image is difficult affects both, so
that the interval of their difference, resampled image by image, is much narrower than the
difference of two intervals.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from motivnet.schema import Schema

RESAMPLES = 10_000
CONFIDENCE = 0.95

_UNSEEN = 3.0
"""If none of n images shows an event, 3 / n bounds its rate with 95 % confidence (Hanley &
Lippman-Hand 1983, doi 10.1001/jama.1983.03330370053031)."""


class Estimate(Schema, frozen=True, kw_only=True):
    """A value in percentage points, and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


class Answers(Schema, frozen=True, kw_only=True):
    """How a point answered ``images`` images beside the full model.

    ``right`` are its right answers, ``lost`` the images that only the full model had right,
    ``gained`` those that only the point had. Without labels the full model is right.
    """

    images: int
    right: int
    lost: int
    gained: int

    @property
    def accuracy(self) -> Estimate:
        """The accuracy in percent."""
        # Each outcome counts one more: none is impossible because it was not seen.
        counts = (self.right + 1.0, self.images - self.right + 1.0)
        value = 100 * self.right / self.images
        return _estimate(value, counts, (100.0, 0.0), self.images)

    @property
    def drop(self) -> Estimate:
        """The accuracy lost against the full model, in percentage points; below 0 if gained."""
        # As in the interval of Agresti & Min 2005 (doi 10.1002/sim.1781) for paired proportions.
        same = self.images - self.lost - self.gained
        counts = (self.lost + 0.5, self.gained + 0.5, same + 1.0)
        value = 100 * (self.lost - self.gained) / self.images
        return _estimate(value, counts, (100.0, -100.0, 0.0), self.images)


def compare_answers(
    answers: NDArray[np.int64], full: NDArray[np.int64], truth: NDArray[np.int64]
) -> Answers:
    """Return how the classes ``(N,)`` of a point compare with those of the full model."""
    right, full_right = answers == truth, full == truth
    return Answers(
        images=len(truth),
        right=int(right.sum()),
        lost=int((full_right & ~right).sum()),
        gained=int((right & ~full_right).sum()),
    )


def images_to_show(max_drop: float) -> int:
    """Return how many images show at all that no more than so many points are lost.

    With fewer, the interval is wider even if every answer is the same.
    """
    return math.ceil(100 * _UNSEEN / max_drop)


def images_for_interval(answers: Answers, max_drop: float) -> int | None:
    """Return how many images would bring the interval's upper end to ``max_drop``, as an estimate.

    None if it is there, or if no number would do because the drop itself is too large. The width of
    an interval goes with the root of the number of images.
    """
    drop = answers.drop
    room = max_drop - drop.value
    if drop.high <= max_drop or room <= 0:
        return None
    return math.ceil(answers.images * ((drop.high - drop.value) / room) ** 2)


@functools.lru_cache(maxsize=1024)
def _estimate(
    value: float, counts: tuple[float, ...], effects: tuple[float, ...], images: int
) -> Estimate:
    """Return a value with the percentile interval of resampled images.

    Images of the same outcome are alike, so that resampling them is drawing from a multinomial
    distribution. The seed is fixed: the same counts have the same interval.
    """
    random = np.random.default_rng(0)
    drawn = random.multinomial(images, np.array(counts) / sum(counts), size=RESAMPLES)
    means = drawn @ np.array(effects) / images
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(means, [tail, 100 - tail])
    return Estimate(value=value, low=min(float(low), value), high=max(float(high), value))

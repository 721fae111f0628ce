"""The threshold of a cascade, with a bound on the share of answers that it changes.

Let ``R(t)`` be the probability that the student answers at the threshold ``t``, and differs from
the full model. A higher threshold adds no changed answer, so ``R`` does not increase with ``t``.
Thresholds are tried from the safest to the boldest, and the first with more than ``k`` changed
answers among ``n`` images ends this: ``k`` is the largest number that a binomial of ``n`` trials
and probability ``max_changed`` does not exceed in at most 5 % of cases, which is the exact test of
Clopper and Pearson 1934. This is the fixed-sequence testing of Angelopoulos et al. 2021 (arXiv
2110.01052), and as ``R`` is monotone, a risk-controlling set of Bates et al. 2021 (2101.02703).

Every confidence that was observed may be tried, without a correction for many tests. Let ``s`` be
the highest threshold at which ``R`` is ``max_changed`` or more: a number that does not depend on
the images. If the chosen threshold is too bold it is at most ``s``, so that no more answers are
changed at ``s`` than at the chosen one, which is ``k`` or fewer. At ``s``, that happens in at most
5 % of cases.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motivnet.errors import DatasetError
from motivnet_engines.inference.escalation import CONFIDENCE_LEVEL


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenThreshold:
    """A threshold, and what it does to the images that it was chosen on."""

    threshold: float
    by_student: int
    changed: int


def choose_threshold(
    confidence: NDArray[np.float64], changed: NDArray[np.bool_], *, max_changed: float
) -> ChosenThreshold:
    """Return the lowest threshold that bounds the share of changed answers.

    Args:
        confidence: Of the student for N independent images ``(N,)``; ``-inf`` for one that goes to
            the full model at any threshold.
        changed: Whether its answer is not the full model's ``(N,)``.
        max_changed: The bound, which holds with a confidence of 95 %.

    Raises:
        DatasetError: If there are too few images for it, or the student's surest answers are wrong.
    """
    images = len(confidence)
    check_enough_images(images, max_changed=max_changed)
    allowed = allowed_changes(images, max_changed=max_changed)
    of_changed = np.sort(confidence[changed & np.isfinite(confidence)])[::-1]
    answerable = confidence[np.isfinite(confidence)]
    if len(of_changed) > allowed:
        answerable = answerable[answerable > of_changed[allowed]]
    if not answerable.size:
        raise DatasetError(
            f"no threshold keeps the changed answers at {max_changed:.2%}: the student differs "
            "from the full model where it is surest; train it longer, or raise --max-changed"
        )
    threshold = float(answerable.min()) if len(of_changed) > allowed else 0.0
    answered = confidence >= threshold
    return ChosenThreshold(
        threshold=threshold,
        by_student=int(answered.sum()),
        changed=int((answered & changed).sum()),
    )


def check_enough_images(images: int, *, max_changed: float) -> None:
    """Refuse a number of images at which the bound would not hold without a single change.

    Raises:
        DatasetError: With the number that would do.
    """
    if allowed_changes(images, max_changed=max_changed) < 0:
        needed = needed_images(max_changed)
        raise DatasetError(
            f"{images:,} images cannot show that at most {max_changed:.2%} of the answers change: "
            f"with {CONFIDENCE_LEVEL:.0%} confidence that takes {needed:,} images or more; "
            "give more, or raise --max-changed"
        )


def needed_images(max_changed: float) -> int:
    """Return how many images without a change show the bound: 149 for 2 %."""
    return math.ceil(math.log(1 - CONFIDENCE_LEVEL) / math.log1p(-max_changed))


def allowed_changes(images: int, *, max_changed: float) -> int:
    """Return the most changes among so many images that still show the bound, -1 if none does."""
    total, number = 0.0, -1
    for changes in range(images + 1):
        total += _binomial(changes, images, max_changed)
        if total > 1 - CONFIDENCE_LEVEL:
            break
        number = changes
    return number


def _binomial(successes: int, trials: int, probability: float) -> float:
    """Return the probability of so many successes."""
    ways = (
        math.lgamma(trials + 1) - math.lgamma(successes + 1) - math.lgamma(trials - successes + 1)
    )
    failures = (trials - successes) * math.log1p(-probability)
    return math.exp(ways + successes * math.log(probability) + failures)

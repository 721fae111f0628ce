"""Accuracy by class, and what the old classes lose when new ones are learnt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motivnet_engines.calibration.labelled_outputs import LabelledOutputs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """Which images of each class were classified correctly, for the classes that have images."""

    right: dict[str, NDArray[np.bool_]]

    def accuracy(self, labels: Iterable[str]) -> float | None:
        """Return the accuracy over the images of these classes; None without any."""
        found = [self.right[label] for label in labels if label in self.right]
        return float(np.concatenate(found).mean()) if found else None

    def by_class(self) -> dict[str, float]:
        """Return the accuracy of each class."""
        return {label: float(right.mean()) for label, right in self.right.items()}


def evaluate(
    outputs: LabelledOutputs, scores: NDArray[np.float64], labels: tuple[str, ...]
) -> Evaluation:
    """Return which images have the highest of the scores ``(N, labels)`` at their own class.

    Images of other classes are left out.
    """
    best = scores.argmax(axis=1)
    right: dict[str, NDArray[np.bool_]] = {}
    for place, label in enumerate(outputs.labels):
        own = outputs.classes == place
        if label in labels and own.any():
            right[label] = best[own] == labels.index(label)
    return Evaluation(right=right)


def forgetting(best: Mapping[str, float], now: Mapping[str, float]) -> float | None:
    """Return the best earlier accuracy minus the current one, averaged over the common classes.

    This is the measure of Chaudhry et al. 2018 (arXiv 1801.10112). A new class takes images from
    old classes that look like it, which counts as forgetting although nothing was lost: refitting
    on everything from scratch forgets in this measure too.
    """
    losses = [earlier - now[label] for label, earlier in best.items() if label in now]
    return float(np.mean(losses)) if losses else None


def track_best(
    best: Mapping[str, float], before: Evaluation, after: Evaluation
) -> tuple[dict[str, float], float | None]:
    """Return the best accuracy that each class ever had, and the forgetting of a run.

    Args:
        best: The best accuracy of each class in earlier runs.
        before: The older classes at the start of this run.
        after: All classes at its end.
    """
    now = after.by_class()
    earlier = {
        label: max(accuracy, best.get(label, 0.0)) for label, accuracy in before.by_class().items()
    }
    kept = dict(best) | earlier
    kept |= {label: max(accuracy, kept.get(label, 0.0)) for label, accuracy in now.items()}
    return kept, forgetting(earlier, now)

"""How many images of each class a readout or a model gets right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from motivnet_engines.calibration.labelled_images import LabelledOutputs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judgement:
    """For each class that there are images of, which of them were told right."""

    right: dict[str, NDArray[np.bool_]] = field(default_factory=dict)

    def share(self, labels: Iterable[str]) -> float | None:
        """The share of the images of these classes; None where there are none."""
        found = [self.right[label] for label in labels if label in self.right]
        return float(np.concatenate(found).mean()) if found else None

    def shares(self) -> dict[str, float]:
        """The share of each class."""
        return {label: float(right.mean()) for label, right in self.right.items()}


def judged(
    outputs: LabelledOutputs, scores: NDArray[np.float64], labels: tuple[str, ...]
) -> Judgement:
    """Images are right if their own class has the highest of the scores ``(N, labels)``; other classes do not count."""
    best = scores.argmax(axis=1)
    return Judgement(
        right={
            label: best[outputs.classes == place] == labels.index(label)
            for place, label in enumerate(outputs.labels)
            if label in labels and (outputs.classes == place).any()
        }
    )


def forgetting(best: Mapping[str, float], now: Mapping[str, float]) -> float | None:
    """Best earlier accuracy minus that of now, averaged over the classes that have both (Chaudhry
    et al. 2018).

    A new class takes images from the old ones that look like it, which counts as forgetting though
    nothing of them was lost: fitting on everything at once after each step forgets in this measure
    too.
    """
    losses = [earlier - now[label] for label, earlier in best.items() if label in now]
    return float(np.mean(losses)) if losses else None

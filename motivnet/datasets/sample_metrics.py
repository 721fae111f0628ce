"""How right probabilities are about samples, whatever they were computed by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from motivnet.datasets.sample import Sample
from motivnet.datasets.targets import targets_of
from motivnet.metrics import (
    ClassificationFigures,
    Probabilities,
    classification_figures,
    cross_entropy,
)


def figures_of(
    samples: Sequence[Sample], probabilities: Probabilities, labels: tuple[str, ...]
) -> ClassificationFigures:
    """The figures of probabilities ``(N, classes)``; where people voted, the loss is that of their votes."""
    truth = np.asarray([sample.label for sample in samples], np.int64)
    targets = targets_of(samples, classes=len(labels)).astype(np.float64)
    return classification_figures(
        truth, probabilities, labels, loss=cross_entropy(targets, probabilities)
    )

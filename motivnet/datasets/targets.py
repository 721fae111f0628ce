"""What a model should say of samples: their labels as distributions, soft where people voted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from motivnet.datasets.sample import Sample


def targets_of(samples: Sequence[Sample], *, classes: int) -> NDArray[np.float32]:
    """The distribution of each sample over the labels ``(N, classes)``, all on its label where it has none."""
    targets = np.zeros((len(samples), classes), np.float32)
    for row, sample in zip(targets, samples, strict=True):
        if sample.distribution is None:
            row[sample.label] = 1.0
        else:
            row[:] = sample.distribution
    return targets

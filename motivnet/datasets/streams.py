"""The random numbers of datasets: a stream for each use of the one seed, so that no choice follows another."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Use(IntEnum):
    """What random numbers are for.

    The number goes where the order of training images and their augmentation, which stand on the
    same seed, have the
    epoch: no training is so long that its epochs reach these.
    """

    DRAWING = 1_000_000_001
    HOLDING_OUT = 1_000_000_002
    SHEET = 1_000_000_003


def stream(seed: int, use: Use, *label: int) -> np.random.Generator:
    """The random numbers of one use, and of one label where each has its own."""
    return np.random.default_rng([seed, use, *label])

"""Which images are seen when, as a pure function of seed, epoch and position.

Interruptions, the number of workers and other uses of random numbers do not change it. With several
processes each takes every n-th batch of the same order, so that n processes see in one step what
one process sees in n times as many batches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

Key = tuple[int, int]
"""Epoch and index of an image; the epoch of an image that is not augmented is ``NOT_AUGMENTED``."""

NOT_AUGMENTED = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSampler:
    """The batches of one epoch for one process, from batch ``start`` on.

    Without an epoch the images come in order and are not augmented. All processes get the same
    number of batches: where they do not come out even, the first ones are taken again.
    """

    count: int
    batch_size: int
    epoch: int | None = None
    seed: int = 0
    start: int = 0
    rank: int = 0
    processes: int = 1

    def __len__(self) -> int:
        return batches_per_epoch(self.count, self.batch_size, processes=self.processes) - self.start

    def __iter__(self) -> Iterator[list[Key]]:
        epoch = NOT_AUGMENTED if self.epoch is None else self.epoch
        order = np.arange(self.count)
        if self.epoch is not None:
            order = np.random.default_rng((self.seed, self.epoch)).permutation(self.count)
        batches = math.ceil(self.count / self.batch_size)
        for position in range(self.start, self.start + len(self)):
            first = (position * self.processes + self.rank) % batches * self.batch_size
            yield [(epoch, int(index)) for index in order[first : first + self.batch_size]]


def batches_per_epoch(count: int, batch_size: int, *, processes: int = 1) -> int:
    """Return the number of batches that each process sees in an epoch."""
    return math.ceil(math.ceil(count / batch_size) / processes)


def steps_per_epoch(count: int, batch_size: int, accumulate: int, *, processes: int = 1) -> int:
    """Return the optimizer steps in an epoch; the last may stand on fewer batches."""
    return math.ceil(batches_per_epoch(count, batch_size, processes=processes) / accumulate)

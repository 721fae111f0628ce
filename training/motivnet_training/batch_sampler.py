"""Which images are seen when, as a pure function of seed, epoch and position.

Neither an interruption, nor the number of workers, nor another use of random numbers changes it.
With several processes each takes every n-th batch of the one order, so that n processes see in one
step what one process sees in n times as many batches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

Key = tuple[int, int]
"""Epoch and index of an image; the epoch of an image that is not augmented is ``AS_IT_IS``."""

AS_IT_IS = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """The place of a process among those that train together."""

    rank: int = 0
    world: int = 1


ALONE = Shard()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOrder:
    """The batches of one epoch for one process, from batch ``start`` on; as an iterable, a batch
    sampler of torch's.

    All processes get the same number: where the batches do not come out even, the first ones are
    taken again.
    """

    count: int
    batch_size: int
    seed: int
    epoch: int
    start: int = 0
    shard: Shard = ALONE

    def __len__(self) -> int:
        return batches_per_epoch(self.count, self.batch_size, world=self.shard.world) - self.start

    def __iter__(self) -> Iterator[list[Key]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.count)
        batches = math.ceil(self.count / self.batch_size)
        for position in range(self.start, self.start + len(self)):
            first = (position * self.shard.world + self.shard.rank) % batches * self.batch_size
            yield [(self.epoch, int(index)) for index in order[first : first + self.batch_size]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedOrder:
    """Every image in order; with several processes each takes every n-th batch, some of them twice."""

    count: int
    batch_size: int
    shard: Shard = ALONE

    def __len__(self) -> int:
        return batches_per_epoch(self.count, self.batch_size, world=self.shard.world)

    def __iter__(self) -> Iterator[list[Key]]:
        batches = math.ceil(self.count / self.batch_size)
        for position in range(len(self)):
            first = (position * self.shard.world + self.shard.rank) % batches * self.batch_size
            yield [
                (AS_IT_IS, index)
                for index in range(first, min(first + self.batch_size, self.count))
            ]


def batches_per_epoch(count: int, batch_size: int, *, world: int = 1) -> int:
    """Batches that each of ``world`` processes sees in an epoch."""
    return math.ceil(math.ceil(count / batch_size) / world)


def steps_per_epoch(count: int, batch_size: int, accumulate: int, *, world: int = 1) -> int:
    """Steps of the optimiser in an epoch; the last may stand on fewer batches."""
    return math.ceil(batches_per_epoch(count, batch_size, world=world) / accumulate)

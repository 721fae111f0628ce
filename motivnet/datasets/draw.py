"""Simple random sampling of as many images from each class, with others for those that turn out to be unreadable."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np

from motivnet.datasets.check import Checked, readable
from motivnet.datasets.sample import Sample
from motivnet.datasets.streams import Use, stream
from motivnet.errors import ConfigError, DatasetError

PerClass = int | Literal["smallest"] | None
"""Images to draw of each class; ``smallest`` for as many as the smallest class has, None for all."""

Queues = dict[int, list[Sample]]
"""The samples of each label in the random order in which they are drawn."""


def queues_from(samples: Sequence[Sample], *, seed: int) -> Queues:
    """Every class in a random order of its own, which does not depend on the other classes but on the order given."""
    by_label: Queues = defaultdict(list)
    for sample in samples:
        by_label[sample.label].append(sample)
    return {
        label: _shuffled(by_label[label], stream(seed, Use.DRAWING, label))
        for label in sorted(by_label)
    }


def number_to_draw(queues: Queues, per_class: PerClass, *, labels: tuple[str, ...]) -> int | None:
    """How many images of each class are wanted; None for all.

    Raises:
        ConfigError: If that is below 1.
        DatasetError: If a class has fewer.
    """
    smallest = min(map(len, queues.values()))
    if per_class == "smallest":
        return smallest
    if per_class is not None and per_class < 1:
        raise ConfigError(f"at least one image must be drawn of each class, not {per_class}")
    if per_class is not None and per_class > smallest:
        raise _too_few({label: len(queue) for label, queue in queues.items()}, per_class, labels)
    return per_class


def topped_up(queues: Queues, checked: Checked, *, wanted: int) -> Checked:
    """``checked`` and, where images of a class were unreadable, the next ones of its queue."""
    for queue in queues.values():
        position = wanted
        while position < len(queue) and (missing := wanted - _count_readable(queue, checked)) > 0:
            checked += readable(queue[position : position + missing])
            position += missing
    return checked


def drawn_from(
    queues: Queues,
    checked: Checked,
    *,
    wanted: int | None,
    per_class: PerClass,
    labels: tuple[str, ...],
) -> list[Sample]:
    """The first readable samples of each queue, as many of each class where a number was asked for.

    Raises:
        DatasetError: If a class has fewer than ``per_class`` readable images.
    """
    ready = {
        label: [s for s in queue if s.name in checked.digests] for label, queue in queues.items()
    }
    if wanted is not None:
        counts = {label: len(queue) for label, queue in ready.items()}
        if per_class != "smallest" and min(counts.values()) < wanted:
            raise _too_few(counts, wanted, labels)
        wanted = min(wanted, *counts.values())
    return [sample for queue in ready.values() for sample in queue[:wanted]]


def _count_readable(queue: list[Sample], checked: Checked) -> int:
    return sum(sample.name in checked.digests for sample in queue)


def _shuffled(samples: list[Sample], rng: np.random.Generator) -> list[Sample]:
    return [samples[index] for index in rng.permutation(len(samples))]


def _too_few(counts: dict[int, int], wanted: int, labels: tuple[str, ...]) -> DatasetError:
    label = min(counts, key=counts.__getitem__)
    return DatasetError(
        f"class {labels[label]} has {counts[label]:,} images to draw from, fewer than the {wanted:,} asked for; "
        "ask for fewer, or for as many as the smallest class has"
    )

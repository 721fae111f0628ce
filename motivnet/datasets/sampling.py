"""Random choices from a dataset that follow from a seed: a draw per class, and a held-out share."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from enum import IntEnum
from typing import Literal

import numpy as np

from motivnet.datasets.check import Checked, check_readable
from motivnet.datasets.sample import Sample
from motivnet.errors import ConfigError, DatasetError

PerClass = int | Literal["smallest"] | None
"""Images to draw from each class; ``smallest`` for the size of the smallest class, None for all."""

Queues = dict[int, list[Sample]]
"""The samples of each label in the random order in which they are drawn."""


class RandomStream(IntEnum):
    """What random numbers are used for; each use of a seed has its own stream.

    The number takes the place that the epoch has for the order of training images and for their
    augmentation, which use the same seed. No training has that many epochs.
    """

    DRAWING = 1_000_000_001
    HOLDING_OUT = 1_000_000_002
    SHEET = 1_000_000_003


def random_stream(seed: int, use: RandomStream, *label: int) -> np.random.Generator:
    """Return the random numbers for one use, and for one label where each has its own."""
    return np.random.default_rng([seed, use, *label])


def shuffle_by_class(samples: Sequence[Sample], *, seed: int) -> Queues:
    """Return the samples of each class in a random order that does not depend on other classes."""
    by_label: Queues = defaultdict(list)
    for sample in samples:
        by_label[sample.label].append(sample)
    queues: Queues = {}
    for label, queue in sorted(by_label.items()):
        order = random_stream(seed, RandomStream.DRAWING, label).permutation(len(queue))
        queues[label] = [queue[index] for index in order]
    return queues


def number_to_draw(queues: Queues, per_class: PerClass, *, labels: tuple[str, ...]) -> int | None:
    """Return how many images of each class are wanted, None for all.

    Raises:
        ConfigError: If that is below 1.
        DatasetError: If a class has fewer.
    """
    if per_class is None:
        return None
    if per_class == "smallest":
        return min(map(len, queues.values()))
    if per_class < 1:
        raise ConfigError(f"at least one image must be drawn of each class, not {per_class}")
    _check_enough(queues, per_class, labels)
    return per_class


def replace_unreadable(queues: Queues, checked: Checked, *, wanted: int) -> Checked:
    """Check the next images of each class whose first ``wanted`` ones are not all readable."""
    for queue in queues.values():
        position = wanted
        while position < len(queue):
            missing = wanted - len(checked.readable(queue))
            if missing <= 0:
                break
            checked |= check_readable(queue[position : position + missing])
            position += missing
    return checked


def draw(
    queues: Queues,
    checked: Checked,
    *,
    wanted: int | None,
    per_class: PerClass,
    labels: tuple[str, ...],
) -> list[Sample]:
    """Return the first readable samples of each class, equally many where a number is wanted.

    Raises:
        DatasetError: If a class has fewer than ``per_class`` readable images.
    """
    ready = {label: list(checked.readable(queue)) for label, queue in queues.items()}
    if wanted is not None:
        if per_class != "smallest":
            _check_enough(ready, wanted, labels)
        wanted = min(wanted, *map(len, ready.values()))
    return [sample for queue in ready.values() for sample in queue[:wanted]]


def _check_enough(queues: Queues, wanted: int, labels: tuple[str, ...]) -> None:
    label, queue = min(queues.items(), key=lambda item: len(item[1]))
    if len(queue) < wanted:
        raise DatasetError(
            f"class {labels[label]} has {len(queue):,} images to draw from, fewer than the "
            f"{wanted:,} asked for; ask for fewer, or for as many as the smallest class has"
        )


def hold_out(
    samples: Sequence[Sample], *, share: float, seed: int, stratified: bool
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Return the samples to train on and a random share to validate on, both in the order given.

    Nobody is in both. Groups (all images of a person, or one image of nobody known) are taken in a
    random order if that brings the numbers closer to the share; with single images that gives
    exactly the share. Stratified, the share is that of each class: at least one image of a class
    with two, none of a class with one, and one always stays to train on.

    Raises:
        ConfigError: If the share is not between 0 and 1.
        DatasetError: If nothing can be held out.
    """
    if not 0 < share < 1:
        raise ConfigError(
            f"the share of images for validation must be between 0 and 1, not {share}"
        )
    groups: dict[tuple[bool, str], list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.person is None, sample.person or sample.name].append(sample)
    order = random_stream(seed, RandomStream.HOLDING_OUT).permutation(len(groups))
    shuffled = [list(groups.values())[index] for index in order]
    held_out = _choose_groups(shuffled, share=share, stratified=stratified)
    if not held_out:
        raise DatasetError(
            "no class has two images of different people, so that none can be held out; add images"
        )
    training = tuple(sample for sample in samples if sample.name not in held_out)
    return training, tuple(sample for sample in samples if sample.name in held_out)


def _choose_groups(groups: list[list[Sample]], *, share: float, stratified: bool) -> set[str]:
    """Return the names of the samples to hold out."""
    counted = [Counter(sample.label if stratified else 0 for sample in group) for group in groups]
    totals = sum(counted, Counter[int]())
    targets = {
        key: max(1, round(total * share)) if total > 1 else 0 for key, total in totals.items()
    }
    current = Counter[int]()
    chosen: set[int] = set()
    # A second pass gives a class that has none yet the first group with one of its images.
    for wanted in (_is_closer, _is_missing):
        for index, counts in enumerate(counted):
            leaves_some = all(current[key] + counts[key] < totals[key] for key in counts)
            if index not in chosen and leaves_some and wanted(counts, current, targets):
                chosen.add(index)
                current += counts
    return {sample.name for index in chosen for sample in groups[index]}


def _is_closer(counts: Counter[int], current: Counter[int], targets: dict[int, int]) -> bool:
    change = 0
    for key, count in counts.items():
        distance = targets[key] - current[key]
        change += abs(distance - count) - abs(distance)
    return change < 0


def _is_missing(counts: Counter[int], current: Counter[int], targets: dict[int, int]) -> bool:
    return any(targets[key] > 0 and current[key] == 0 for key in counts)

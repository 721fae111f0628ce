"""A random share of a training set for validation, without showing anybody in both."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from motivnet.datasets.sample import Sample
from motivnet.datasets.streams import Use, stream
from motivnet.errors import ConfigError, DatasetError

Group = list[Sample]
"""Samples that stay together: all of one person, or a single one."""


def hold_out(
    samples: Sequence[Sample], *, share: float, seed: int, stratified: bool
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """The samples to train on and those to validate on, both in the order given, on which the
    choice depends.

    Groups are taken in a random order, each if it brings the numbers closer to what the share asks
    for; with single images that gives exactly the share. Stratified, the numbers are those of each
    class: at least one where a class has two images, none where it has one, and one is always left
    to train on.

    Raises:
        ConfigError: If the share is not between 0 and 1.
        DatasetError: If nothing can be held out.
    """
    if not 0 < share < 1:
        raise ConfigError(
            f"the share of images for validation must be between 0 and 1, not {share}"
        )
    groups = _groups(samples)
    order = stream(seed, Use.HOLDING_OUT).permutation(len(groups))
    held_out = _chosen([groups[index] for index in order], share=share, stratified=stratified)
    if not held_out:
        raise DatasetError(
            "no class has two images of different people, so that none can be held out; add images"
        )
    training = tuple(sample for sample in samples if sample.name not in held_out)
    return training, tuple(sample for sample in samples if sample.name in held_out)


def _groups(samples: Sequence[Sample]) -> list[Group]:
    groups: dict[tuple[bool, str], Group] = defaultdict(list)
    for sample in samples:
        alone = sample.person is None
        groups[alone, sample.name if sample.person is None else sample.person].append(sample)
    return list(groups.values())


def _chosen(groups: list[Group], *, share: float, stratified: bool) -> set[str]:
    """The names of the samples to hold out."""
    counted = [Counter(sample.label if stratified else 0 for sample in group) for group in groups]
    totals = sum(counted, Counter[int]())
    targets = {
        key: max(1, round(total * share)) if total > 1 else 0 for key, total in totals.items()
    }
    current = Counter[int]()
    chosen: set[int] = set()
    for always in (
        False,
        True,
    ):  # the second pass gives a class that has none yet the first group that has it
        for index, counts in enumerate(counted):
            wanted = (
                _is_missing(counts, current, targets)
                if always
                else _is_closer(counts, current, targets)
            )
            if (
                index not in chosen
                and wanted
                and all(current[key] + counts[key] < totals[key] for key in counts)
            ):
                chosen.add(index)
                current += counts
    return {sample.name for index in chosen for sample in groups[index]}


def _is_closer(counts: Counter[int], current: Counter[int], targets: dict[int, int]) -> bool:
    change = sum(
        abs(targets[key] - current[key] - counts[key]) - abs(targets[key] - current[key])
        for key in counts
    )
    return change < 0


def _is_missing(counts: Counter[int], current: Counter[int], targets: dict[int, int]) -> bool:
    return any(targets[key] > 0 and current[key] == 0 for key in counts)

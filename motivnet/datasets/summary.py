"""What a dataset holds, in numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from motivnet.datasets.duplicates import Pairs, duplicates_in
from motivnet.datasets.sample import Dataset

NO_PART = "any"
"""What stands for the part of a sample whose dataset has none."""

_PARTS = ("train", "val", "test", NO_PART)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSummary:
    """``counts`` has the images by label and part, ``parts`` those that occur in it; ``people``
    those that are known.

    ``voted`` counts the images that have a distribution over the labels. ``duplicates`` are the
    names of byte-identical images in different parts.
    """

    dataset: str
    layout: str
    images: int
    parts: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    people: int
    voted: int
    skipped: dict[str, int]
    unreadable: dict[str, str]
    duplicates: Pairs


def summary_of(dataset: Dataset) -> DatasetSummary:
    """The numbers of a dataset."""
    found = Counter((sample.label, sample.part or NO_PART) for sample in dataset.samples)
    parts = tuple(part for part in _PARTS if any(part == other for _, other in found))
    return DatasetSummary(
        dataset=dataset.root.resolve().name,
        layout=dataset.layout,
        images=len(dataset.samples),
        parts=parts,
        counts={
            label: {part: found[i, part] for part in parts}
            for i, label in enumerate(dataset.labels)
        },
        people=len({sample.person for sample in dataset.samples} - {None}),
        voted=sum(sample.distribution is not None for sample in dataset.samples),
        skipped=dataset.skipped,
        unreadable=dataset.unreadable,
        duplicates=duplicates_in(dataset),
    )

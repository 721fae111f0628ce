"""Byte-identical images in different parts, which would be learnt from and asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from motivnet.datasets.sample import Dataset, Sample

Pairs = tuple[tuple[str, str], ...]
"""Names of two samples of the same bytes, in order."""


def duplicates_between(parts: Sequence[Sequence[Sample]], *, digests: Mapping[str, str]) -> Pairs:
    """Pairs from different parts; the first is in the part that comes later here.

    Args:
        digests: By name; samples without one are not compared.
    """
    found: list[tuple[str, str]] = []
    seen: dict[str, str] = {}
    for part in parts:
        of_part = {sample.name: digests[sample.name] for sample in part if sample.name in digests}
        found += [(name, seen[digest]) for name, digest in of_part.items() if digest in seen]
        seen = {digest: name for name, digest in reversed(of_part.items())} | seen
    return tuple(sorted(found))


def duplicates_in(dataset: Dataset) -> Pairs:
    """Pairs from different parts that the dataset itself tells, where its images were checked."""
    test, validation = (
        [sample for sample in dataset.samples if sample.part == part] for part in ("test", "val")
    )
    training = [sample for sample in dataset.samples if sample.part not in ("test", "val")]
    return duplicates_between((test, validation, training), digests=dataset.digests)

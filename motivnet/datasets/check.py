"""Decoding images once before they are used, to know which of them can be read and which are the same."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from motivnet.datasets.sample import Sample
from motivnet.errors import DatasetError, FileError, ImageError
from motivnet.progress import progress

UNREADABLE = "unreadable image"
"""The reason under which such images are counted."""

MANY_UNREADABLE = 5
"""Fewer are never too many, however small the dataset."""

MAX_UNREADABLE = 0.05
"""The share that is put up with where nobody says otherwise."""

_BLOCK = 256
_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What can be decoded, in the order given; digests of these, and reasons of the others, by name."""

    samples: tuple[Sample, ...] = ()
    digests: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)

    def __add__(self, other: Checked) -> Checked:
        return Checked(
            samples=self.samples + other.samples,
            digests=self.digests | other.digests,
            unreadable=self.unreadable | other.unreadable,
        )

    @property
    def count(self) -> int:
        """Images that were looked at."""
        return len(self.samples) + len(self.unreadable)


def readable(samples: Sequence[Sample]) -> Checked:
    """Which samples can be decoded; on as many threads as there are processors, decoding runs outside Python's lock."""
    kept: list[Sample] = []
    digests: dict[str, str] = {}
    unreadable: dict[str, str] = {}
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with (
        progress("checking images", total=len(samples)) as advance,
        ThreadPoolExecutor(workers) as pool,
    ):
        # In blocks, so that an interruption does not wait for all of the rest.
        for start in range(0, len(samples), _BLOCK):
            block = samples[start : start + _BLOCK]
            for sample, (digest, reason) in zip(block, pool.map(_examined, block), strict=True):
                if reason is None:
                    kept.append(sample)
                    digests[sample.name] = digest
                else:
                    unreadable[sample.name] = reason
                advance(1)
    return Checked(samples=tuple(kept), digests=digests, unreadable=unreadable)


def refuse_many_unreadable(checked: Checked, *, max_share: float) -> None:
    """Stops at a dataset that is damaged as a whole, or whose images lie elsewhere.

    Raises:
        DatasetError: If a larger share than ``max_share``, and at least ``MANY_UNREADABLE``, cannot
        be decoded.
    """
    count = len(checked.unreadable)
    if count < MANY_UNREADABLE or count <= max_share * checked.count:
        return
    named = "; ".join(sorted(checked.unreadable.values())[:_NAMED])
    raise DatasetError(
        f"{count:,} of {checked.count:,} images cannot be read, more than {max_share:.0%}: {named}; …; "
        "check that the dataset is complete"
    )


def _examined(sample: Sample) -> tuple[str, str | None]:
    """The digest of a sample, and why it cannot be decoded."""
    try:
        data = sample.encoded()
        sample.decode(data)
    except (ImageError, FileError) as error:
        return "", str(error)
    return sample.digest_of(data), None

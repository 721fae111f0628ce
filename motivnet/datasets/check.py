"""Images that are decoded before they are used: which are readable and equal, and counts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from motivnet.datasets.left_out import SHOWN, Tally, name_some
from motivnet.datasets.sample import Dataset, Sample
from motivnet.errors import DatasetError, FileError, ImageError
from motivnet.images import USER_LIMITS, ImageLimits
from motivnet.printable import printable
from motivnet.processors import count_usable_cores
from motivnet.terminal import progress

UNREADABLE = "unreadable image"
"""The reason under which images that cannot be decoded are counted."""

MANY_UNREADABLE = 5
"""Fewer are accepted in any dataset."""

MAX_UNREADABLE = 0.05
"""The share that is accepted by default."""

NO_SPLIT = "any"
"""Stands for the split of a sample whose dataset has no splits."""

Pairs = tuple[tuple[str, str], ...]
"""Names of two samples of the same bytes, in order."""

_SPLITS = ("train", "val", "test", NO_SPLIT)
_BLOCK = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The digests of the samples that can be decoded, by name; for the others the reason."""

    digests: dict[str, str]
    unreadable: dict[str, str]

    def __or__(self, other: Checked) -> Checked:
        return Checked(
            digests=self.digests | other.digests, unreadable=self.unreadable | other.unreadable
        )

    def readable(self, samples: Iterable[Sample]) -> tuple[Sample, ...]:
        """Return those of the samples that can be decoded, in their order."""
        return tuple(sample for sample in samples if sample.name in self.digests)

    def left_out(self) -> Tally:
        """Return the unreadable images as what was left out; each fault is said once."""
        if not self.unreadable:
            return Tally()
        faults = tuple(
            f"{name_some(names)} {'each ' if len(names) > 1 else ''}{fault}"
            for fault, names in self._names_by_fault().items()
        )
        return Tally({UNREADABLE: len(self.unreadable)}, {UNREADABLE: faults[: SHOWN + 1]})

    def refuse_many_unreadable(self, *, max_share: float) -> None:
        """Refuse a dataset that is damaged as a whole, or whose images are elsewhere.

        Raises:
            DatasetError: If more than ``max_share`` of the images, and at least
                ``MANY_UNREADABLE``, cannot be decoded.
        """
        count, total = len(self.unreadable), len(self.digests) + len(self.unreadable)
        if count < MANY_UNREADABLE or count <= max_share * total:
            return
        firsts = [self.unreadable[names[0]] for names in self._names_by_fault().values()]
        named = "; ".join(firsts[:SHOWN])
        raise DatasetError(
            f"{count:,} of {total:,} images cannot be read, more than {max_share:.0%}: {named}; "
            "…; check that the dataset is complete"
        )

    def _names_by_fault(self) -> dict[str, list[str]]:
        """Return the names of the unreadable images by what is wrong with them."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for name, reason in sorted(self.unreadable.items()):
            # The text of an error has the path, which ends with the name, before the fault.
            _, named, fault = reason.partition(f"{printable(name)} ")
            found[fault if named else f"({reason})"].append(name)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSummary:
    """What a dataset holds, in numbers.

    ``counts`` has the images by label and split, ``splits`` the splits that there are. ``people``
    counts the known ones, ``voted`` the images with a distribution over the labels. ``duplicates``
    names byte-identical images in different splits.
    """

    dataset: str
    format: str
    images: int
    splits: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    people: int
    voted: int
    skipped: dict[str, int]
    unreadable: dict[str, str]
    duplicates: Pairs


def check_readable(samples: Sequence[Sample], *, limits: ImageLimits = USER_LIMITS) -> Checked:
    """Decode the samples, on as many threads as there are processors: OpenCV releases the lock."""
    digests: dict[str, str] = {}
    unreadable: dict[str, str] = {}
    examine = partial(_examine, limits=limits)
    with (
        progress("checking images", total=len(samples)) as advance,
        ThreadPoolExecutor(count_usable_cores()) as pool,
    ):
        # In blocks, so that an interruption does not wait for all of the rest.
        for start in range(0, len(samples), _BLOCK):
            block = samples[start : start + _BLOCK]
            for sample, (digest, reason) in zip(block, pool.map(examine, block), strict=True):
                if reason is None:
                    digests[sample.name] = digest
                else:
                    unreadable[sample.name] = reason
                advance(1)
    return Checked(digests=digests, unreadable=unreadable)


def _examine(sample: Sample, *, limits: ImageLimits) -> tuple[str, str | None]:
    """Return the digest of a sample, and why it cannot be decoded."""
    try:
        data = sample.encoded(limits)
        sample.decode(data, limits)
    except (ImageError, FileError) as error:
        return "", str(error)
    return sample.digest_of(data), None


def find_duplicates(splits: Sequence[Sequence[Sample]], *, digests: Mapping[str, str]) -> Pairs:
    """Return pairs of equal images in different splits: data leakage if one is trained on.

    The first of a pair is in the split that comes later here.

    Args:
        splits: The samples of each.
        digests: By name; samples without one are not compared.
    """
    found: list[tuple[str, str]] = []
    seen: dict[str, str] = {}
    for split in splits:
        own = {sample.name: digests[sample.name] for sample in split if sample.name in digests}
        found += [(name, seen[digest]) for name, digest in own.items() if digest in seen]
        # Of equal images the first in order represents them, hence reversed.
        seen = {digest: name for name, digest in reversed(own.items())} | seen
    return tuple(sorted(found))


def summarise(dataset: Dataset) -> DatasetSummary:
    """Return the numbers of a dataset; duplicates are known where its images were checked."""
    found = Counter((sample.label, sample.split or NO_SPLIT) for sample in dataset.samples)
    present = {split for _, split in found}
    splits = tuple(split for split in _SPLITS if split in present)
    by_split = [
        [sample for sample in dataset.samples if (sample.split or "train") == split]
        for split in ("test", "val", "train")
    ]
    return DatasetSummary(
        dataset=dataset.root.resolve().name,
        format=dataset.format,
        images=len(dataset.samples),
        splits=splits,
        counts={
            label: {split: found[index, split] for split in splits}
            for index, label in enumerate(dataset.labels)
        },
        people=len({sample.person for sample in dataset.samples} - {None}),
        voted=sum(sample.distribution is not None for sample in dataset.samples),
        skipped=dataset.skipped,
        unreadable=dataset.unreadable,
        duplicates=find_duplicates(by_split, digests=dataset.digests),
    )

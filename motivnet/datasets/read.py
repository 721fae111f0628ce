"""Labelled images of any known dataset format, the most specific first, class folders last."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import Protocol

from motivnet.datasets import (
    affectnet,
    affectnet_npy,
    ck48,
    ckplus,
    fer2013,
    ferplus,
    folder,
    jaffe,
    kdef,
    motivnet_json,
    rafdb,
)
from motivnet.datasets.check import MAX_UNREADABLE, UNREADABLE, Checked, check_readable
from motivnet.datasets.listing import Listing, describe_skipped, refuse_outside
from motivnet.datasets.sample import Dataset, Sample, SplitName
from motivnet.errors import ConfigError, DatasetError

logger = logging.getLogger(__name__)

EVALUATED: tuple[SplitName, ...] = ("test", "val")
"""The splits to evaluate a model on; training may have chosen the model by ``val``."""


class Reader(Protocol):
    """What the module of a dataset format offers."""

    def recognises(self, path: Path) -> bool:
        """Return whether a path has this format, by names, without opening images."""

    def read(self, path: Path, *, labels: tuple[str, ...]) -> Listing:
        """Return the samples of a path that the reader recognises."""


FORMATS: dict[str, Reader] = {
    "AffectNet (CSV lists)": affectnet,
    "AffectNet (npy labels)": affectnet_npy,
    "FER+": ferplus,
    "FER2013": fer2013,
    "RAF-DB": rafdb,
    "CK+": ckplus,
    "CK+48": ck48,
    "JAFFE": jaffe,
    "KDEF": kdef,
    "MotivNet JSON list": motivnet_json,
    "class folders": folder,
}
"""How a dataset lies on disk, by names for people."""

ADVICE = {
    ("CK+48", "neutral"): (
        "CK+48 has no neutral images: use CK+, or add them as neutral/S010_004_00000001.png and "
        "the like"
    ),
}
"""What to do about a class that a dataset never has, by the names of the format and the class."""


def recognise(path: Path) -> str:
    """Return the name of the first format that a folder or a file has.

    Raises:
        DatasetError: If there is no such path, or it has no known format.
    """
    if not path.exists():
        raise DatasetError(
            f"{path} is not a folder; give a folder with one folder of images per class, or a "
            "dataset's"
        )
    for name, reader in FORMATS.items():
        if reader.recognises(path):
            return name
    raise DatasetError(
        f"{path} has the format of no known dataset: {', '.join(FORMATS)} such as neutral/ and "
        "happiness/"
    )


def read_dataset(
    path: Path | str,
    *,
    labels: tuple[str, ...],
    splits: tuple[SplitName, ...] = (),
    limit: int | None = None,
    check: bool = True,
    max_unreadable: float = MAX_UNREADABLE,
    allow_outside: bool = False,
) -> Dataset:
    """Return the labelled images of a folder or a list, whose format is recognised.

    Args:
        path: The folder or the list.
        labels: The model's, in the order of its outputs.
        splits: Read only the first of these that the dataset has; all images if it has none of
            them.
        limit: The largest number of images per class. The first in order are taken, the others are
            not opened.
        check: Decode each image once to know that it can be read; ``split_dataset`` checks what it
            uses.
        max_unreadable: The share of unreadable images that is accepted.
        allow_outside: Whether a list may name images outside its folder, see ``refuse_outside``.

    Raises:
        ConfigError: If ``limit`` is below 1.
        DatasetError: If the path does not exist, has no known format, its lists are damaged or
            name images outside their folder, too many images are unreadable, or there is no
            readable image of any label.
        FileError: If a list cannot be opened.
    """
    path = Path(path)
    if limit is not None and limit < 1:
        raise ConfigError(f"the limit of images per class must be at least 1, not {limit}")
    try:
        found = recognise(path)
        listing = FORMATS[found].read(path, labels=labels)
    except OSError as error:
        raise DatasetError(
            f"{error.filename or path} cannot be read: {error.strerror or error}"
        ) from error
    if not allow_outside:
        files = (sample.image for sample in listing.samples if isinstance(sample.image, Path))
        refuse_outside(path, files, folder=path if path.is_dir() else path.parent)
    split, samples = _select(listing, splits, limit)
    checked = check_readable(samples) if check else Checked(digests={}, unreadable={})
    checked.refuse_many_unreadable(max_share=max_unreadable)
    kept = checked.readable(samples) if check else tuple(samples)
    skipped = dict(listing.skipped)
    if checked.unreadable:
        skipped[UNREADABLE] = len(checked.unreadable)
    if not kept:
        reasons = f" ({describe_skipped(skipped)})" if skipped else ""
        raise DatasetError(
            f"{path} holds no image of a known class{reasons}; it was read as {found}, and "
            f"the classes are {', '.join(labels)}"
        )
    if skipped:
        logger.warning("%s: skipped %s", path, describe_skipped(skipped))
    return Dataset(
        format=found,
        root=path,
        labels=labels,
        split=split,
        samples=kept,
        skipped=skipped,
        unreadable=checked.unreadable,
        digests=checked.digests,
    )


def _select(
    listing: Listing, splits: tuple[SplitName, ...], limit: int | None
) -> tuple[SplitName | None, list[Sample]]:
    """Return the split to read, and its first samples per class."""
    present = {sample.split for sample in listing.samples}
    split = next((split for split in splits if split in present), None)
    seen: Counter[int] = Counter()
    kept = []
    for sample in listing.samples:
        if split in (None, sample.split):
            seen[sample.label] += 1
            if limit is None or seen[sample.label] <= limit:
                kept.append(sample)
    return split, kept

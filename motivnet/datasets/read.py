"""Labelled images from any dataset that is known, or from class folders."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from motivnet.datasets.check import (
    MAX_UNREADABLE,
    UNREADABLE,
    Checked,
    readable,
    refuse_many_unreadable,
)
from motivnet.datasets.layouts import Layout, layout_of
from motivnet.datasets.listing import Listing, refuse_outside, summary_of_skipped
from motivnet.datasets.sample import Dataset, Part, Sample
from motivnet.errors import ConfigError, DatasetError

logger = logging.getLogger(__name__)

JUDGED: tuple[Part, ...] = ("test", "val")
"""The parts that say how right a model is, those first that it was not chosen by."""


def read_dataset(
    path: Path | str,
    *,
    labels: tuple[str, ...],
    parts: tuple[Part, ...] = (),
    limit: int | None = None,
    check: bool = True,
    max_unreadable: float = MAX_UNREADABLE,
    allow_outside: bool = False,
) -> Dataset:
    """The labelled images of a folder or a list, recognised by its layout.

    Args:
        labels: The model's, in output order.
        parts: Only the first of these that the dataset has; all images where it has none of them.
        limit: Images a class at most, the first in order; the others are not even opened.
        check: Whether each image is decoded once to know that it can be read; ``split_dataset``
        checks what it uses.
        max_unreadable: The share of unreadable images that is still put up with.
        allow_outside: Whether a list may name images that do not lie in its folder. A stranger's
            list could name any file of this machine; links in the folder are followed, as the
            user's own.

    Raises:
        ConfigError: If ``limit`` is below 1.
        DatasetError: If nothing lies there, no layout is recognised, the layout's own files are
            damaged, a list names images outside its folder, too many images are unreadable, or
            there is no readable image of any label.
        FileError: If a list of the layout cannot be opened.
    """
    path = Path(path)
    if limit is not None and limit < 1:
        raise ConfigError(f"the limit of images a class must be at least 1, not {limit}")
    layout, listing = _listed(path, labels)
    if not allow_outside:
        files = (sample.image for sample in listing.samples if isinstance(sample.image, Path))
        refuse_outside(path, files, folder=path if path.is_dir() else path.parent)
    part = next(
        (part for part in parts if any(sample.part == part for sample in listing.samples)), None
    )
    samples = _limited([sample for sample in listing.samples if part in (None, sample.part)], limit)
    checked = readable(samples) if check else Checked(samples=tuple(samples))
    refuse_many_unreadable(checked, max_share=max_unreadable)
    skipped = listing.skipped | (
        {UNREADABLE: len(checked.unreadable)} if checked.unreadable else {}
    )
    if not checked.samples:
        found = f" ({summary_of_skipped(skipped)})" if skipped else ""
        raise DatasetError(
            f"{path} holds no image of a known class{found}; "
            f"it was read as {layout.name}, and the classes are {', '.join(labels)}"
        )
    if skipped:
        logger.warning("%s: skipped %s", path, summary_of_skipped(skipped))
    return Dataset(
        layout=layout.name,
        root=path,
        labels=labels,
        part=part,
        samples=checked.samples,
        skipped=skipped,
        unreadable=checked.unreadable,
        digests=checked.digests,
    )


def _listed(path: Path, labels: tuple[str, ...]) -> tuple[Layout, Listing]:
    try:
        layout = layout_of(path)
        return layout, layout.reader.listing(path, labels=labels)
    except OSError as error:
        raise DatasetError(
            f"{error.filename or path} cannot be read: {error.strerror or error}"
        ) from error


def _limited(samples: Sequence[Sample], limit: int | None) -> list[Sample]:
    seen: Counter[int] = Counter()
    kept = []
    for sample in samples:
        seen[sample.label] += 1
        if limit is None or seen[sample.label] <= limit:
            kept.append(sample)
    return kept

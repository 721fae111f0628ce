"""Labelled images of any known dataset format, the most specific first, class folders last."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from motivnet.datasets import (
    affectnet,
    affectnet_npy,
    ck48,
    ckplus,
    class_folders,
    csv_list,
    fer2013,
    ferplus,
    jaffe,
    kdef,
    motivnet_json,
    rafdb,
)
from motivnet.datasets.check import MAX_UNREADABLE, Checked, check_readable
from motivnet.datasets.class_folders import (
    MAX_WRAPPERS,
    NUMBERED,
    SPLITS,
    ClassFolders,
    beside,
    holds_classes,
)
from motivnet.datasets.image_folders import subfolders, visible
from motivnet.datasets.left_out import Tally, name_some, tally
from motivnet.datasets.listing import Listing, refuse_outside
from motivnet.datasets.sample import Dataset, Sample, SplitName
from motivnet.errors import ConfigError, DatasetError, FileError
from motivnet.labels import EMOTIONS
from motivnet.path_kind import kind_of

logger = logging.getLogger(__name__)

EVALUATED: tuple[SplitName, ...] = ("test", "val")
"""The splits to evaluate a model on; training may have chosen the model by ``val``."""


class Reader(Protocol):
    """What the module of a dataset format offers."""

    def recognises(self, path: Path) -> bool:
        """Return whether a path has this format, by names, without opening images."""

    def read(self, path: Path, *, labels: tuple[str, ...]) -> Listing:
        """Return the samples of a path that the reader recognises."""


CLASS_FOLDERS = "class folders"
CSV_LIST = "CSV list"

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
    CSV_LIST: csv_list,
    CLASS_FOLDERS: class_folders,
}
"""How a dataset lies on disk, by names for people."""

ADVICE = {
    ("CK+48", "neutral"): (
        "CK+48 has no neutral images: use CK+, or add them as neutral/S010_004_00000001.png and "
        "the like"
    ),
}
"""What to do about a class that a dataset never has, by the names of the format and the class."""


_NAMES = (
    "training.csv beside Manually_Annotated_Images/ or train_set/annotations/ (AffectNet), "
    "fer2013.csv, icml_face_data.csv or train.csv (FER2013), fer2013new.csv (FER+), "
    "EmoLabel/list_patition_label.txt or 1/train_00001_aligned.jpg (RAF-DB), cohn-kanade-images/ "
    "(CK+), KA.AN1.39.tiff (JAFFE), AF01ANFL.JPG (KDEF), a .json list, a .csv "
    "file with columns file and label, or folders of images named as classes, such as neutral/ and "
    "happy/"
)
"""What is recognised, for the message that nothing was."""

_MAX_LOOKED_INTO = 100
"""Folders in a folder that may be a dataset."""


def recognise(path: Path, *, labels: tuple[str, ...] = EMOTIONS) -> tuple[str, Path]:
    """Return the name of the first format that a folder or a file has, and where the dataset is.

    That is the path, or the only folder below it that has a format: archives have wrappers.

    Raises:
        DatasetError: If there is no such path, it has no known format, or holds several datasets.
        FileError: If the system does not tell.
    """
    if kind_of(path) is None:
        raise DatasetError(
            f"{path} is not a folder; give a folder with one folder of images per class, or a "
            "dataset's"
        )
    wrappers = list(_wrappers(path))
    for folder in wrappers:
        if own := _own_format(folder, labels):
            return own, folder
        if inner := _format_inside(folder, labels):
            return inner
    for folder in reversed(wrappers):
        if class_folders.recognises(folder):
            return CLASS_FOLDERS, folder  # the reader counts the folders that it does not know
    if path.is_file():
        _refuse_part(path, labels)
    names = name_some([entry.name for entry in visible(path)]) if path.is_dir() else path.name
    raise DatasetError(
        f"{path} has the format of no known dataset; it has {names or 'nothing in it'}, and "
        f"recognised are: {_NAMES}"
    )


def read_class_folders(
    folder: Path, *, labels: tuple[str, ...], new_classes: bool = False
) -> ClassFolders:
    """Return ``class_folders.read_class_folders``; another dataset's folder is called what it is.

    Raises:
        DatasetError, FileError: As that.
    """
    try:
        return class_folders.read_class_folders(folder, labels=labels, new_classes=new_classes)
    except DatasetError as error:
        try:
            found, root = recognise(folder, labels=labels)
        except (DatasetError, FileError):
            raise error from None  # nothing better is known
        if found == CLASS_FOLDERS:
            raise
        raise DatasetError(
            f"{root} is {found}, and only a folder of images for each class is read here; put its "
            f"images into folders named as their classes: {', '.join(labels)}"
        ) from error


def _refuse_part(file: Path, labels: tuple[str, ...]) -> None:
    """Refuse a file, such as a list, that is a part of a dataset around it."""
    for folder in list(file.absolute().parents)[:2]:
        found = _own_format(folder, labels)
        if found not in (None, CLASS_FOLDERS):
            raise DatasetError(f"{file} is a part of {found}; give its folder: {folder}")


def _wrappers(path: Path) -> Iterator[Path]:
    """Yield a path and the folders below it, each of which is alone in the one before."""
    yield path
    for _ in range(MAX_WRAPPERS):
        inside = subfolders(path) if path.is_dir() else []
        if len(inside) != 1:
            return
        path = inside[0]
        yield path


def _format_inside(folder: Path, labels: tuple[str, ...]) -> tuple[str, Path] | None:
    """Return the only folder in a folder that has a format, and the format.

    One split of several folders is no dataset without the others.
    """
    inside = subfolders(folder) if folder.is_dir() else []
    several = len(inside) > 1
    whole = [entry for entry in inside if not (several and entry.name.casefold() in SPLITS)]
    formats = [(_own_format(entry, labels), entry) for entry in whole[:_MAX_LOOKED_INTO]]
    known = [(found, entry) for found, entry in formats if found]
    if len(known) > 1:
        names = name_some([f"{entry.name}: {found}" for found, entry in known])
        raise DatasetError(f"{folder} holds several datasets ({names}); give one of them")
    return known[0] if known else None


def _own_format(root: Path, labels: tuple[str, ...]) -> str | None:
    """Return the format of a folder or file itself; of class folders, only if a name is known."""
    for name, reader in FORMATS.items():
        if name == CLASS_FOLDERS:
            return name if root.is_dir() and holds_classes(root, labels) else None
        if reader.recognises(root):
            return name
    return None


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
        found, root = recognise(path, labels=labels)
        listing = FORMATS[found].read(root, labels=labels)
        others = tally(beside(path, root))
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
    left_out = listing.left_out | others | checked.left_out()
    if not kept:
        text = _describe_nothing(path, found, left_out, labels)
        if found == CLASS_FOLDERS and not samples and NUMBERED not in left_out.counts:
            text += f"; else recognised are: {_NAMES}"
        raise DatasetError(text)
    if left_out.counts:
        logger.warning("%s: left out %s", path, left_out)
    return Dataset(
        format=found,
        root=path,
        labels=labels,
        split=split,
        samples=kept,
        left_out=left_out,
        unreadable=checked.unreadable,
        digests=checked.digests,
    )


def _describe_nothing(path: Path, found: str, left_out: Tally, labels: tuple[str, ...]) -> str:
    reasons = f" ({left_out})" if left_out.counts else ""
    text = (
        f"{path} holds no image of a known class{reasons}; it was read as {found}, and the classes "
        f"are {', '.join(labels)}"
    )
    if NUMBERED in left_out.counts:
        return f"{text}; rename the folders of numbers to the classes that they stand for"
    return text


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

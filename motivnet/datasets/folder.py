"""Any folder with one folder of images per class, with or without folders such as train and test.

A class folder has the name of a label or a common name of it (``happy``, ``angry`` …), in any
case. Numbers are those of AffectNet only if all of 0 to 7 are there: 0 to 6 mean other emotions in
FER2013 than in AffectNet, and 1 to 7 are those of RAF-DB.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from motivnet.datasets.image_folders import label_of_folder, visible
from motivnet.datasets.listing import LabelledImage, Listing, collect
from motivnet.datasets.sample import SplitName
from motivnet.images import IMAGE_SUFFIXES
from motivnet.labels import EMOTIONS

SPLITS: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
"""The names of folders and lists of a split."""

_NUMBERS = {str(number): emotion for number, emotion in enumerate(EMOTIONS)}


def recognises(path: Path) -> bool:
    """Return whether there is any folder in it; what its name means depends on the labels."""
    return path.is_dir() and any(entry.is_dir() for entry in visible(path))


def read(path: Path, *, labels: tuple[str, ...]) -> Listing:
    """Return the images of the class folders; those of other folders are counted as skipped."""
    return collect(_images(path, labels), labels=labels)


def _images(path: Path, labels: tuple[str, ...]) -> Iterator[LabelledImage | str]:
    folders: list[tuple[Path, SplitName | None]] = []
    for entry, split in _entries(path):
        if entry.is_dir():
            folders.append((entry, split))
        else:
            yield "not in a class folder"
    has_all_numbers = set(_NUMBERS) <= {folder.name for folder, _ in folders}
    for folder, split in folders:
        emotion = label_of_folder(folder.name, labels)
        if emotion is None and has_all_numbers:
            emotion = _NUMBERS.get(folder.name)
        for file in visible(folder):
            if emotion is None:
                yield _unknown_folder(folder)
            elif file.suffix.casefold() not in IMAGE_SUFFIXES:
                yield "not an image file"
            else:
                name = file.relative_to(path).as_posix()
                yield LabelledImage(name=name, image=file, emotion=emotion, split=split)


def _entries(path: Path) -> Iterator[tuple[Path, SplitName | None]]:
    """Iterate over what should be class folders: in the folders of splits, and beside them."""
    for entry in visible(path):
        split = SPLITS.get(entry.name.casefold())
        if split is not None and entry.is_dir():
            for below in visible(entry):
                yield below, split
        else:
            yield entry, None


def _unknown_folder(folder: Path) -> str:
    ambiguous = (
        ", a number that means different emotions in different sets"
        if folder.name.isdecimal()
        else ""
    )
    return f"unknown class folder {folder.name}{ambiguous}"

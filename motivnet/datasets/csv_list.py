"""A CSV file that names images and their labels in words, in any folder of images.

``file,label,gender,...``: the columns of images, labels, splits and people are known by their usual
names, and others are no matter here. Paths are relative to the file.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

from motivnet.datasets.class_folders import SPLITS, holds_classes
from motivnet.datasets.image_folders import visible
from motivnet.datasets.left_out import LeftOut
from motivnet.datasets.listing import (
    LabelledImage,
    Listing,
    collect,
    csv_columns,
    csv_rows,
    path_in_list,
)
from motivnet.datasets.sample import SplitName
from motivnet.errors import DatasetError, FileError
from motivnet.labels import EMOTIONS, label_from_name
from motivnet.printable import shortened

FILE_COLUMNS = ("file", "image", "path", "filename", "file_name", "image_path")
LABEL_COLUMNS = ("label", "emotion", "expression", "class")
SPLIT_COLUMNS = ("split", "usage")
PERSON_COLUMNS = ("person", "subject", "identity")

_LOOKED_AT = 20
"""Rows of a list."""


def recognises(path: Path) -> bool:
    """Return whether it is such a file, or a folder with one and no class folders beside it."""
    if path.is_dir():
        return not holds_classes(path, EMOTIONS) and bool(_lists(path))
    return _has_columns(path)


def list_of(path: Path) -> Path:
    """Return the list of a dataset that ``recognises`` knows.

    Raises:
        DatasetError: If a folder has several.
    """
    if not path.is_dir():
        return path
    lists = _lists(path)
    if len(lists) > 1:
        names = ", ".join(file.name for file in lists)
        raise DatasetError(f"{path} holds several lists ({names}); give one of them")
    return lists[0]


def read(path: Path, *, labels: tuple[str, ...]) -> Listing:
    """Return the images of the list.

    Raises:
        DatasetError: If it has several lists, a label that is no word for an emotion or class, or
            a split of an unknown name.
    """
    return collect(_images(list_of(path), labels), labels=labels)


def column_named(file: Path, names: tuple[str, ...]) -> str | None:
    """Return the first of these columns that a list has."""
    columns = csv_columns(file)
    return next((name for name in names if name in columns), None)


def _lists(folder: Path) -> list[Path]:
    """Return the lists in a folder of whose first images one is there: other files are tables."""
    return [file for file in visible(folder) if _has_columns(file) and _names_images(file)]


def _names_images(file: Path) -> bool:
    image = column_named(file, FILE_COLUMNS)
    assert image is not None  # it has the columns
    try:
        rows = itertools.islice(csv_rows(file, columns=(image,)), _LOOKED_AT)
        return any(name and (file.parent / name).is_file() for _, (name,) in rows)
    except (DatasetError, OSError):
        return False


def _has_columns(file: Path) -> bool:
    if file.suffix.casefold() != ".csv" or not file.is_file():
        return False
    try:
        columns = csv_columns(file)
    except FileError:
        return False
    return not columns.isdisjoint(FILE_COLUMNS) and not columns.isdisjoint(LABEL_COLUMNS)


def _images(file: Path, labels: tuple[str, ...]) -> Iterator[LabelledImage | LeftOut]:
    known = (FILE_COLUMNS, LABEL_COLUMNS, SPLIT_COLUMNS, PERSON_COLUMNS)
    image, label, split, person = (column_named(file, names) for names in known)
    assert image is not None
    assert label is not None  # as recognised
    columns = tuple(name for name in (image, label, split, person) if name is not None)
    for line, cells in csv_rows(file, columns=columns):
        row = dict(zip(columns, cells, strict=True))
        if not row[image]:
            raise DatasetError(f"line {line} of {file} names no image")
        if row[label].isdigit():
            raise DatasetError(
                f"line {line} of {file} has the label {shortened(row[label], 20)!r}, whose meaning "
                "differs between datasets; write the emotions as words"
            )
        emotion = label_from_name(row[label], labels)
        if emotion is None:
            yield LeftOut(f"the model has no class {shortened(row[label], 40)}", row[image])
            continue
        yield LabelledImage(
            name=row[image],
            image=path_in_list(file.parent, row[image], source=file),
            emotion=emotion,
            split=_split(row.get(split or "", ""), place=f"line {line} of {file}"),
            person=row.get(person or "") or None,
        )


def _split(name: str, *, place: str) -> SplitName | None:
    if name and name.casefold() not in SPLITS:
        raise DatasetError(
            f"{place} has the split {shortened(name, 20)!r}; call it train, val or test"
        )
    return SPLITS[name.casefold()] if name else None

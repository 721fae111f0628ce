"""FER2013 as one CSV file of grey levels (Goodfellow et al. 2013), or as its competition's files.

The competition has ``train.csv`` with labels, and ``test.csv`` without any. Copies in folders are
plain class folders.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from motivnet.datasets.class_folders import SPLITS
from motivnet.datasets.left_out import LeftOut
from motivnet.datasets.listing import (
    LabelledImage,
    Listing,
    collect,
    csv_columns,
    csv_rows,
    emotion_from_code,
)
from motivnet.datasets.sample import RawPixels, SplitName
from motivnet.errors import DatasetError

NAMES = ("fer2013.csv", "icml_face_data.csv")
"""The names of the file in its two releases."""

CODES = dict(enumerate(("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")))
USAGES: dict[str, SplitName] = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}

_PART = "train.csv"
_SIDE = 48
DAMAGED = f"pixels that are not {_SIDE} x {_SIDE} grey levels"


def recognises(path: Path) -> bool:
    """Return whether it is the file, or the folder in which it lies."""
    return _file(path) is not None


def read(path: Path, *, labels: tuple[str, ...]) -> Listing:
    """Return every row, named by its line.

    Raises:
        DatasetError: If a column is missing, or an emotion or a usage is none of FER2013's.
    """
    return collect(_images(_file(path) or path), labels=labels)


def file_in(path: Path) -> Path | None:
    """Return FER2013's whole file: the path itself, or a file of one of its names in the folder."""
    if path.name in NAMES and path.is_file():
        return path
    return next((path / name for name in NAMES if (path / name).is_file()), None)


def _file(path: Path) -> Path | None:
    """Return the whole file, or any CSV file that is given or named as the competition's part."""
    if whole := file_in(path):
        return whole
    part = path / _PART if path.is_dir() else path
    if part.suffix.casefold() != ".csv" or not part.is_file():
        return None
    return part if {"emotion", "pixels"} <= csv_columns(part) else None


def split_from_usage(usage: str, *, place: str) -> SplitName:
    """Return the split that the column ``Usage`` says.

    Raises:
        DatasetError: If it is not one of FER2013's.
    """
    if usage not in USAGES:
        raise DatasetError(
            f"{place} has the usage {usage[:20]!r}; it must be one of {', '.join(USAGES)}"
        )
    return USAGES[usage]


def pixels_from_text(text: str) -> RawPixels | None:
    """Return the image that a row writes as 2,304 numbers, None if it is not one."""
    try:
        data = bytes(map(int, text.split()))
    except ValueError:
        return None
    return RawPixels(data=data, size=(_SIDE, _SIDE)) if len(data) == _SIDE**2 else None


def _images(file: Path) -> Iterator[LabelledImage | LeftOut | str]:
    whole = file.name in NAMES or "usage" in csv_columns(file)
    columns = ("emotion", "pixels", "Usage") if whole else ("emotion", "pixels")
    for line, (code, text, *usage) in csv_rows(file, columns=columns):
        place = f"line {line} of {file}"
        emotion = emotion_from_code(code, CODES, place=place)
        split = split_from_usage(usage[0], place=place) if whole else SPLITS.get(file.stem)
        pixels = pixels_from_text(text)
        if pixels is None:
            yield DAMAGED
        else:
            yield LabelledImage(
                name=f"{file.name}:{line}", image=pixels, emotion=emotion, split=split
            )
    if file.name == _PART and (file.parent / "test.csv").is_file():
        yield LeftOut("file of images without labels", "test.csv")

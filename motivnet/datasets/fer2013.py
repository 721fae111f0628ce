"""FER2013 as one CSV file of grey levels (Goodfellow et al. 2013).

Its copies in folders are plain class folders.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from motivnet.datasets.listing import (
    LabelledImage,
    Listing,
    collect,
    csv_rows,
    emotion_from_code,
)
from motivnet.datasets.sample import RawPixels, SplitName
from motivnet.errors import DatasetError

NAMES = ("fer2013.csv", "icml_face_data.csv")
"""The names of the file in its two releases."""

CODES = dict(enumerate(("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")))
USAGES: dict[str, SplitName] = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}

_SIDE = 48
DAMAGED = f"pixels that are not {_SIDE} x {_SIDE} grey levels"


def recognises(path: Path) -> bool:
    """Return whether it is the file, or the folder in which it lies."""
    return file_in(path) is not None


def read(path: Path, *, labels: tuple[str, ...]) -> Listing:
    """Return every row, named by its line.

    Raises:
        DatasetError: If a column is missing, or an emotion or a usage is none of FER2013's.
    """
    return collect(_images(file_in(path) or path), labels=labels)


def file_in(path: Path) -> Path | None:
    """Return FER2013's file: the path itself, or a file of one of its names in the folder."""
    if path.name in NAMES and path.is_file():
        return path
    return next((path / name for name in NAMES if (path / name).is_file()), None)


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


def _images(file: Path) -> Iterator[LabelledImage | str]:
    for line, (code, text, usage) in csv_rows(file, columns=("emotion", "pixels", "Usage")):
        place = f"line {line} of {file}"
        emotion = emotion_from_code(code, CODES, place=place)
        split = split_from_usage(usage, place=place)
        pixels = pixels_from_text(text)
        if pixels is None:
            yield DAMAGED
        else:
            yield LabelledImage(
                name=f"{file.name}:{line}", image=pixels, emotion=emotion, split=split
            )

"""FER2013 as one CSV file of grey levels (Goodfellow et al. 2013); its copies in folders are plain class folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from motivnet.datasets.listing import Face, Listing, codes_from, emotion_from_code, listing_of
from motivnet.datasets.rows import csv_rows
from motivnet.datasets.sample import GreyPixels, Part
from motivnet.errors import DatasetError

NAMES = ("fer2013.csv", "icml_face_data.csv")
"""What the file is called in its two releases."""

CODES = codes_from(("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"))
USAGES: dict[str, Part] = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}

_SIDE = 48
DAMAGED = f"pixels that are not {_SIDE} x {_SIDE} grey levels"


def recognises(path: Path) -> bool:
    """Whether it is the file, or the folder in which it lies."""
    return file_in(path) is not None


def listing(path: Path, *, labels: tuple[str, ...]) -> Listing:
    """Every row, named by its line.

    Raises:
        DatasetError: If a column is missing, or an emotion or a usage is none of FER2013's.
    """
    return listing_of(_faces(file_in(path) or path), labels=labels)


def file_in(path: Path) -> Path | None:
    """FER2013's file: the path itself, or what lies in the folder under one of its names."""
    if path.name in NAMES and path.is_file():
        return path
    return next((path / name for name in NAMES if (path / name).is_file()), None)


def part_from_usage(usage: str, *, place: str) -> Part:
    """What the column ``Usage`` says.

    Raises:
        DatasetError: If it says something else than FER2013's does.
    """
    if usage not in USAGES:
        raise DatasetError(
            f"{place} has the usage {usage[:20]!r}; it must be one of {', '.join(USAGES)}"
        )
    return USAGES[usage]


def pixels_from_text(text: str) -> GreyPixels | None:
    """The picture that a row writes as 2,304 numbers; None where it is not."""
    try:
        return GreyPixels(data=bytes(map(int, text.split())), size=(_SIDE, _SIDE))
    except ValueError:
        return None


def _faces(file: Path) -> Iterator[Face | str]:
    for line, (code, text, usage) in csv_rows(file, columns=("emotion", "pixels", "Usage")):
        place = f"line {line} of {file}"
        emotion, part = (
            emotion_from_code(code, CODES, place=place),
            part_from_usage(usage, place=place),
        )
        pixels = pixels_from_text(text)
        if pixels is None:
            yield DAMAGED
        else:
            yield Face(name=f"{file.name}:{line}", image=pixels, emotion=emotion, part=part)

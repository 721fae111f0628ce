"""FER+: the votes of ten people on each image of the user's own FER2013 (Barsoum et al. 2016).

The rows of both files belong together by their order. Votes for ``unknown`` and ``NF`` (no face)
only decide whether an image is left out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

from motivnet.datasets.fer2013 import DAMAGED, file_in, pixels_from_text, split_from_usage
from motivnet.datasets.listing import LabelledImage, Listing, collect, csv_rows
from motivnet.datasets.sample import SplitName
from motivnet.errors import DatasetError
from motivnet.labels import EMOTIONS

NAME = "fer2013new.csv"

_NO_EMOTION = ("unknown", "NF")


def recognises(path: Path) -> bool:
    """Return whether it is the file of votes, or the folder in which it lies."""
    return _votes_file(path).is_file()


def read(path: Path, *, labels: tuple[str, ...]) -> Listing:
    """Return every image on whose emotion most people had an opinion, with the votes.

    Raises:
        DatasetError: If FER2013's own file is not there, the two do not belong together, a column
            is missing or a number of votes is not a number.
    """
    votes = _votes_file(path)
    pictures = file_in(votes.parent)
    if pictures is None:
        raise DatasetError(f"{votes} has votes and no pictures; put your own fer2013.csv beside it")
    return collect(_images(votes, pictures), labels=labels)


def _votes_file(path: Path) -> Path:
    return path if path.name == NAME else path / NAME


def _images(votes: Path, pictures: Path) -> Iterator[LabelledImage | str]:
    voted = csv_rows(votes, columns=("Usage", "Image name", *EMOTIONS, *_NO_EMOTION))
    drawn = csv_rows(pictures, columns=("Usage", "pixels"))
    for row, picture in itertools.zip_longest(voted, drawn):
        if row is None or picture is None:
            raise DatasetError(
                f"{votes} and {pictures} have different numbers of rows; use whole copies of both"
            )
        place = f"line {row[0]} of {votes}"
        if row[1][0] != picture[1][0]:
            raise DatasetError(
                f"{place} is not of the same split as line {picture[0]} of {pictures}; restore "
                "the order"
            )
        yield _image(
            row[1], picture[1][1], split=split_from_usage(row[1][0], place=place), place=place
        )


def _image(
    cells: tuple[str, ...], text: str, *, split: SplitName, place: str
) -> LabelledImage | str:
    _, name, *numbers = cells
    if not name:
        return "removed by FER+"
    votes = dict(zip((*EMOTIONS, *_NO_EMOTION), _counts(numbers, place), strict=True))
    undecided = sum(votes.pop(name) for name in _NO_EMOTION)
    if not any(votes.values()) or undecided > sum(votes.values()):
        return "most votes for unknown or no face"
    pixels = pixels_from_text(text)
    if pixels is None:
        return DAMAGED
    emotion = max(EMOTIONS, key=votes.__getitem__)  # of equals the first in order
    return LabelledImage(name=name, image=pixels, emotion=emotion, split=split, votes=votes)


def _counts(numbers: list[str], place: str) -> list[int]:
    if wrong := [
        number
        for number in numbers
        if not (number.isascii() and number.isdecimal() and len(number) <= 4)
    ]:
        raise DatasetError(f"{place} has {wrong[0][:20]!r} votes; it must be a whole number")
    return [int(number) for number in numbers]

"""RAF-DB's basic emotions: a list of names and numbers, and aligned faces (Li, Deng & Du 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePath

from motivnet.datasets.listing import Face, Listing, codes_from, emotion_from_code, listing_of
from motivnet.datasets.rows import text_lines
from motivnet.datasets.sample import Part
from motivnet.errors import DatasetError

CODES = codes_from(
    ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"), start=1
)

_LIST = Path("EmoLabel", "list_patition_label.txt")  # spelt so in the release
_PARTS: dict[str, Part] = {"train": "train", "test": "test"}


def recognises(path: Path) -> bool:
    """Whether the list is there, in the folder or in its folder ``basic``."""
    return _root(path) is not None


def listing(path: Path, *, labels: tuple[str, ...]) -> Listing:
    """The aligned faces of the list, in the parts that their names tell.

    Raises:
        DatasetError: If the faces are not there, or a line is not a name and a number from 1 to 7.
    """
    root = _root(path) or path
    images = root / "Image" / "aligned"
    if not images.is_dir():
        raise DatasetError(f"{images} is not a folder; unpack RAF-DB's aligned.zip there")
    return listing_of(_faces(root / _LIST, images), labels=labels)


def _root(path: Path) -> Path | None:
    return next((root for root in (path / "basic", path) if (root / _LIST).is_file()), None)


def _faces(file: Path, images: Path) -> Iterator[Face]:
    for line, words in text_lines(file):
        place = f"line {line} of {file}"
        part = _PARTS.get(words[0].partition("_")[0])
        if len(words) < 2 or part is None:
            raise DatasetError(
                f"{place} is not like 'train_00001.jpg 5'; use the list as RAF-DB brings it"
            )
        name = PurePath(words[0])
        yield Face(
            name=words[0],
            image=images / f"{name.stem}_aligned{name.suffix}",
            emotion=emotion_from_code(words[1], CODES, place=place),
            part=part,
        )

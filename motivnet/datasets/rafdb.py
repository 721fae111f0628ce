"""RAF-DB's basic emotions: a list of names and numbers, and aligned faces (Li, Deng & Du 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePath

from motivnet.datasets.listing import (
    LabelledImage,
    Listing,
    collect,
    emotion_from_code,
    word_lines,
)
from motivnet.datasets.sample import SplitName
from motivnet.errors import DatasetError

CODES = dict(
    enumerate(("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"), 1)
)

_LIST = Path("EmoLabel", "list_patition_label.txt")  # spelt so in the release
_SPLITS: dict[str, SplitName] = {"train": "train", "test": "test"}


def recognises(path: Path) -> bool:
    """Return whether the list is there, in the folder or in its folder ``basic``."""
    return _root(path) is not None


def read(path: Path, *, labels: tuple[str, ...]) -> Listing:
    """Return the aligned faces of the list, in the splits that their names tell.

    Raises:
        DatasetError: If the faces are not there, or a line is not a name and a number from 1 to 7.
    """
    root = _root(path) or path
    images = root / "Image" / "aligned"
    if not images.is_dir():
        raise DatasetError(f"{images} is not a folder; unpack RAF-DB's aligned.zip there")
    return collect(_images(root / _LIST, images), labels=labels)


def _root(path: Path) -> Path | None:
    return next((root for root in (path / "basic", path) if (root / _LIST).is_file()), None)


def _images(file: Path, images: Path) -> Iterator[LabelledImage]:
    for line, words in word_lines(file):
        place = f"line {line} of {file}"
        split = _SPLITS.get(words[0].partition("_")[0])
        if len(words) < 2 or split is None:
            raise DatasetError(
                f"{place} is not like 'train_00001.jpg 5'; use the list as RAF-DB brings it"
            )
        name = PurePath(words[0])
        yield LabelledImage(
            name=words[0],
            image=images / f"{name.stem}_aligned{name.suffix}",
            emotion=emotion_from_code(words[1], CODES, place=place),
            split=split,
        )

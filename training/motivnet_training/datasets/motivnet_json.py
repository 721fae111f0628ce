"""MotivNet's own lists: ``{"0": ["a.jpg", …], …}``, images by the number of their label."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from motivnet.errors import DatasetError, FileError
from motivnet.files import open_regular, read_bytes
from motivnet.labels import EMOTIONS
from motivnet.strict_json import StrictJSONError, build, loads
from motivnet_training.datasets.folder import PARTS
from motivnet_training.datasets.listing import Face, Listing, emotion_from_code, listing_of, visible
from motivnet_training.datasets.sample import Part

_BEGINNING = re.compile(rb'\s*\{\s*"\d+"\s*:\s*\[')
_PEEKED = 256
_MAX_BYTES = 256_000_000


def recognises(path: Path) -> bool:
    """Whether it is a ``.json`` file, or a folder with one that begins as a list does."""
    return _is_json(path) or (path.is_dir() and any(_begins_as_list(file) for file in visible(path)))


def listing(path: Path, *, labels: tuple[str, ...]) -> Listing:
    """The images of the list, at paths relative to it; of a folder, those of ``train.json`` and the like by part.

    Raises:
        DatasetError: If it is no such list, a label is out of range, or it is not clear which of several is meant.
    """
    return listing_of(_faces(path, labels), labels=labels)


def _faces(path: Path, labels: tuple[str, ...]) -> Iterator[Face]:
    names = labels + EMOTIONS[len(labels) :] if labels == EMOTIONS[: len(labels)] else labels
    codes = dict(enumerate(names))
    for file, part in _lists(path):
        for number, images in _entries(file).items():
            emotion = emotion_from_code(number, codes, place=str(file))
            for image in images:
                yield Face(name=image, image=file.parent / image, emotion=emotion, part=part)


def _lists(path: Path) -> list[tuple[Path, Part | None]]:
    if not path.is_dir():
        return [(path, None)]
    found = [(file, PARTS.get(file.stem.casefold())) for file in visible(path) if _begins_as_list(file)]
    if len(found) > 1 and any(part is None for _, part in found):
        names = ", ".join(file.name for file, _ in found)
        raise DatasetError(
            f"{path} holds several lists ({names}); give one, or call them train.json, val.json, test.json"
        )
    return found


def _entries(file: Path) -> dict[str, tuple[str, ...]]:
    try:
        value: Any = loads(read_bytes(file, max_bytes=_MAX_BYTES), max_bytes=_MAX_BYTES)
        return build(dict[str, tuple[str, ...]], value, "the list")
    except StrictJSONError as error:
        raise DatasetError(f'{file} is not a list such as {{"0": ["a.jpg"]}}: {error}') from error


def _is_json(file: Path) -> bool:
    return file.suffix.casefold() == ".json" and file.is_file()


def _begins_as_list(file: Path) -> bool:
    if not _is_json(file):
        return False
    try:
        with open_regular(file) as opened:
            return _BEGINNING.match(opened.read(_PEEKED)) is not None
    except FileError:
        return False

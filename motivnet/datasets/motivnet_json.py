"""MotivNet's own lists: images by the number of their label, or with a distribution over the labels
each.

``{"0": ["a.jpg", …], …}`` names the images of each label.

``{"images": {"a.jpg": {"happiness": 0.7, "surprise": 0.3}, …}}`` gives each image shares of labels,
which sum to 1, so that soft labels of any origin can be trained on. A label that is not named has
no share; the largest share tells the right answer. Where the model has no contempt, images of which
contempt has the largest share are left out, and the shares of the others are scaled to sum to 1
without it, as with FER+.

Paths are relative to the list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motivnet.datasets.folder import PARTS
from motivnet.datasets.listing import Face, Listing, emotion_from_code, listing_of, visible
from motivnet.datasets.sample import Part
from motivnet.errors import DatasetError, FileError
from motivnet.files import open_regular, read_bytes
from motivnet.labels import EMOTIONS
from motivnet.strict_json import StrictJSONError, build, loads

_BEGINNING = re.compile(rb'\s*\{\s*("\d+"\s*:\s*\[|"images"\s*:\s*\{)')
_PEEKED = 256
_MAX_BYTES = 256_000_000
_TOLERANCE = 1e-3
"""How far from 1 shares may sum that were rounded when they were written; they are scaled to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _SoftList:
    images: dict[str, dict[str, float]]


def recognises(path: Path) -> bool:
    """Whether it is a ``.json`` file, or a folder with one that begins as a list does."""
    return _is_json(path) or (
        path.is_dir() and any(_begins_as_list(file) for file in visible(path))
    )


def listing(path: Path, *, labels: tuple[str, ...]) -> Listing:
    """The images of the list, at paths relative to it; of a folder, those of ``train.json`` and the
    like by part.

    Raises:
        DatasetError: If it is no such list, a label is out of range or unknown, shares are no
            distribution, or it is not clear which of several lists is meant.
    """
    return listing_of(_faces(path, labels), labels=labels)


def _faces(path: Path, labels: tuple[str, ...]) -> Iterator[Face]:
    names = labels + EMOTIONS[len(labels) :] if labels == EMOTIONS[: len(labels)] else labels
    for file, part in _lists(path):
        entries = _entries(file)
        if isinstance(entries, _SoftList):
            yield from _soft_faces(file, entries.images, part=part, names=names)
        else:
            yield from _hard_faces(file, entries, part=part, names=names)


def _hard_faces(
    file: Path, entries: Mapping[str, tuple[str, ...]], *, part: Part | None, names: tuple[str, ...]
) -> Iterator[Face]:
    codes = dict(enumerate(names))
    for number, images in entries.items():
        emotion = emotion_from_code(number, codes, place=str(file))
        for image in images:
            yield Face(name=image, image=file.parent / image, emotion=emotion, part=part)


def _soft_faces(
    file: Path,
    images: Mapping[str, Mapping[str, float]],
    *,
    part: Part | None,
    names: tuple[str, ...],
) -> Iterator[Face]:
    for image, shares in images.items():
        _check_shares(shares, names, place=f"{image[:80]!r} in {file}")
        emotion = max(names, key=lambda name: shares.get(name, 0.0))  # of equals the first in order
        yield Face(name=image, image=file.parent / image, emotion=emotion, part=part, votes=shares)


def _check_shares(shares: Mapping[str, float], names: tuple[str, ...], *, place: str) -> None:
    if unknown := [name for name in shares if name not in names]:
        raise DatasetError(
            f"{place} has a share of {unknown[0][:20]!r}; the labels are {', '.join(names)}"
        )
    if negative := [name for name, share in shares.items() if share < 0]:
        raise DatasetError(
            f"{place} has a share of {negative[0]} below 0; shares must be from 0 to 1"
        )
    total = sum(shares.values())
    if abs(total - 1.0) > _TOLERANCE:
        raise DatasetError(f"{place} has shares that sum to {total:.6g}; they must sum to 1")


def _lists(path: Path) -> list[tuple[Path, Part | None]]:
    if not path.is_dir():
        return [(path, None)]
    found = [
        (file, PARTS.get(file.stem.casefold())) for file in visible(path) if _begins_as_list(file)
    ]
    if len(found) > 1 and any(part is None for _, part in found):
        names = ", ".join(file.name for file, _ in found)
        raise DatasetError(
            f"{path} holds several lists ({names}); give one, or call them train.json, val.json, test.json"
        )
    return found


def _entries(file: Path) -> dict[str, tuple[str, ...]] | _SoftList:
    try:
        value: Any = loads(read_bytes(file, max_bytes=_MAX_BYTES), max_bytes=_MAX_BYTES)
        if isinstance(value, Mapping) and "images" in value:
            return build(_SoftList, value, "the list")
        return build(dict[str, tuple[str, ...]], value, "the list")
    except StrictJSONError as error:
        raise DatasetError(
            f'{file} is not a list such as {{"0": ["a.jpg"]}} or {{"images": {{"a.jpg": {{"fear": 1}}}}}}: {error}'
        ) from error


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

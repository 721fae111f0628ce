"""MotivNet's own lists: images by label, or with a distribution over the labels.

``{"0": ["a.jpg", …], …}`` names the images of each label.

``{"images": {"a.jpg": {"happiness": 0.7, "surprise": 0.3}, …}}`` gives each image soft labels,
which sum to 1. A label that is not named has no share; the largest share is the label. For a model
without contempt, images with contempt as the largest share are left out, and the shares of the
others are scaled to sum to 1 without it, as with FER+.

Paths are relative to the list.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from motivnet.datasets.class_folders import SPLITS
from motivnet.datasets.image_folders import visible
from motivnet.datasets.listing import (
    LabelledImage,
    Listing,
    collect,
    emotion_from_code,
    path_in_list,
)
from motivnet.datasets.sample import SplitName
from motivnet.errors import DatasetError, FileError
from motivnet.files import open_regular, read_bytes
from motivnet.labels import EMOTIONS
from motivnet.schema import Schema, SchemaError, convert, decode

_BEGINNING = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*("\d+"\s*:\s*\[|"images"\s*:\s*\{)')
_MAX_BYTES = 256_000_000
_TOLERANCE = 1e-3
"""How far from 1 the sum of shares may be, since they are rounded; they are scaled to 1."""


class _SoftList(Schema, frozen=True, kw_only=True):
    images: dict[str, dict[str, float]]


def recognises(path: Path) -> bool:
    """Return whether it is a ``.json`` file, or a folder with one that begins as a list does."""
    return _is_json(path) or (
        path.is_dir() and any(_begins_as_list(file) for file in visible(path))
    )


def read(path: Path, *, labels: tuple[str, ...]) -> Listing:
    """Return the images of the list, or of ``train.json`` and the like in a folder by split.

    Raises:
        DatasetError: If it is not such a list, a label is out of range or unknown, shares are not a
            distribution, or it is not clear which of several lists is meant.
    """
    return collect(_images(path, labels), labels=labels)


def _images(path: Path, labels: tuple[str, ...]) -> Iterator[LabelledImage]:
    names = labels + EMOTIONS[len(labels) :] if labels == EMOTIONS[: len(labels)] else labels
    for file, split in _lists(path):
        for name, emotion, shares in _labelled(file, names):
            image = path_in_list(file.parent, name, source=file)
            yield LabelledImage(name=name, image=image, emotion=emotion, split=split, votes=shares)


def _labelled(
    file: Path, names: tuple[str, ...]
) -> Iterator[tuple[str, str, dict[str, float] | None]]:
    """Iterate over the images of a list: the name, the emotion, and the shares in a soft list."""
    entries = _entries(file)
    if isinstance(entries, _SoftList):
        for image, shares in entries.images.items():
            _check_shares(shares, names, place=f"{image[:80]!r} in {file}")
            # Of equals the first in order.
            yield image, max(names, key=lambda name: shares.get(name, 0.0)), shares
    else:
        codes = dict(enumerate(names))
        for number, images in entries.items():
            emotion = emotion_from_code(number, codes, place=str(file))
            for image in images:
                yield image, emotion, None


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


def _lists(path: Path) -> list[tuple[Path, SplitName | None]]:
    if not path.is_dir():
        return [(path, None)]
    found = [
        (file, SPLITS.get(file.stem.casefold())) for file in visible(path) if _begins_as_list(file)
    ]
    if len(found) > 1 and any(split is None for _, split in found):
        names = ", ".join(file.name for file, _ in found)
        raise DatasetError(
            f"{path} holds several lists ({names}); give one, or call them train.json, val.json, "
            "test.json"
        )
    return found


def _entries(file: Path) -> dict[str, tuple[str, ...]] | _SoftList:
    try:
        data = read_bytes(file, max_bytes=_MAX_BYTES)
        value = decode(data.removeprefix(BOM_UTF8), dict[str, Any], max_bytes=_MAX_BYTES)
        if "images" in value:
            return convert(value, _SoftList)
        return convert(value, dict[str, tuple[str, ...]])
    except SchemaError as error:
        raise DatasetError(
            f'{file} is not a list such as {{"0": ["a.jpg"]}} or '
            f'{{"images": {{"a.jpg": {{"fear": 1}}}}}}: {error}'
        ) from error


def _is_json(file: Path) -> bool:
    return file.suffix.casefold() == ".json" and file.is_file()


def _begins_as_list(file: Path) -> bool:
    if not _is_json(file):
        return False
    try:
        with open_regular(file) as opened:
            return _BEGINNING.match(opened.read(256)) is not None
    except FileError:
        return False

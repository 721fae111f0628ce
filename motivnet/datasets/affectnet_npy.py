"""AffectNet's later release: ``images/7.jpg`` with its label in ``annotations/7_exp.npy``, in two
folders of parts.

Its validation set is the test set here, as in the paper.
"""

from __future__ import annotations

import io
import math
import struct
import tokenize
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from motivnet.datasets.affectnet import CODES, NO_EMOTION
from motivnet.datasets.listing import Face, Listing, emotion_from_code, listing_of, visible
from motivnet.datasets.sample import Part
from motivnet.errors import DatasetError
from motivnet.files import read_bytes
from motivnet.images import IMAGE_SUFFIXES
from motivnet.progress import progress

_PARTS: dict[str, Part] = {"train_set": "train", "val_set": "test"}
_MAX_BYTES = 4096
_KINDS = "iufUS"
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
# What NumPy raises on damaged headers: they are literals of Python, and of Python 2 in old files.
_NPY_ERRORS = (
    *(
        AttributeError,
        EOFError,
        KeyError,
        MemoryError,
        OSError,
        OverflowError,
        RecursionError,
        SyntaxError,
        TypeError,
    ),
    *(ValueError, struct.error, tokenize.TokenError),
)


def recognises(path: Path) -> bool:
    """Whether one of the two folders of parts has annotations."""
    return any((path / part / "annotations").is_dir() for part in _PARTS)


def listing(path: Path, *, labels: tuple[str, ...]) -> Listing:
    """The images of the folders of parts that are there.

    Raises:
        DatasetError: If a folder of images is missing or a label cannot be read or is out of range.
    """
    return listing_of(_faces(path), labels=labels)


def _faces(path: Path) -> Iterator[Face | str]:
    for folder, part in _PARTS.items():
        if (path / folder).is_dir():
            yield from _faces_of_part(path / folder, part)


def _faces_of_part(folder: Path, part: Part) -> Iterator[Face | str]:
    images, annotations = folder / "images", folder / "annotations"
    for needed in (images, annotations):
        if not needed.is_dir():
            raise DatasetError(f"{needed} is not a folder; put AffectNet's {needed.name} there")
    files = visible(images)
    with progress(f"reading the labels of {folder.name}", total=len(files)) as advance:
        for file in files:
            yield _face(file, annotations / f"{file.stem}_exp.npy", part)
            advance(1)


def _face(file: Path, annotation: Path, part: Part) -> Face | str:
    if file.suffix.casefold() not in IMAGE_SUFFIXES:
        return "not an image file"
    if not annotation.is_file():
        return "image without a label"
    emotion = emotion_from_code(_code(annotation), CODES, place=str(annotation))
    if emotion in NO_EMOTION.values():
        return f"labelled {emotion}"
    return Face(
        name=f"{file.parts[-3]}/{file.parts[-2]}/{file.name}",
        image=file,
        emotion=emotion,
        part=part,
    )


def _code(annotation: Path) -> str:
    """The one value of an array file, which is a number in some copies and text in others.

    Its header is read first: ``np.load`` allocates whatever shape it promises before it looks for
    the values.
    """
    stream = io.BytesIO(read_bytes(annotation, max_bytes=_MAX_BYTES))
    try:
        shape, _, kind = _HEADERS[npy.read_magic(stream)](stream)
        if math.prod(shape) != 1 or kind.kind not in _KINDS:
            raise ValueError("not one number or text")
        value = np.frombuffer(stream.read(), kind, count=1)[0].item()
    except _NPY_ERRORS as error:
        raise DatasetError(f"{annotation} is not a NumPy file of one number") from error
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)

"""AffectNet's later release: ``images/7.jpg`` with its label in ``annotations/7_exp.npy``.

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
from motivnet.datasets.image_folders import NOT_AN_IMAGE, is_named_as_image, visible
from motivnet.datasets.left_out import LeftOut
from motivnet.datasets.listing import LabelledImage, Listing, collect, emotion_from_code
from motivnet.datasets.sample import SplitName
from motivnet.errors import DatasetError
from motivnet.files import read_bytes
from motivnet.terminal import progress

_SPLITS: dict[str, SplitName] = {"train_set": "train", "val_set": "test"}
_MAX_BYTES = 4096
_KINDS = "iufUS"
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
# What NumPy raises on damaged headers: they are literals of Python, and of Python 2 in old files.
_NPY_ERRORS = (
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    OverflowError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    tokenize.TokenError,
)


def recognises(path: Path) -> bool:
    """Return whether one of the folders of its two splits has annotations."""
    return any((path / split / "annotations").is_dir() for split in _SPLITS)


def read(path: Path, *, labels: tuple[str, ...]) -> Listing:
    """Return the images of the splits that are there.

    Raises:
        DatasetError: If a folder of images is missing or a label cannot be read or is out of range.
    """
    return collect(_images(path), labels=labels)


def _images(path: Path) -> Iterator[LabelledImage | LeftOut]:
    for folder, split in _SPLITS.items():
        if (path / folder).is_dir():
            yield from _images_of_split(path / folder, split)


def _images_of_split(folder: Path, split: SplitName) -> Iterator[LabelledImage | LeftOut]:
    images, annotations = folder / "images", folder / "annotations"
    for needed in (images, annotations):
        if not needed.is_dir():
            raise DatasetError(f"{needed} is not a folder; put AffectNet's {needed.name} there")
    files = visible(images)
    with progress(f"reading the labels of {folder.name}", total=len(files)) as advance:
        for file in files:
            yield _image(file, annotations / f"{file.stem}_exp.npy", split)
            advance(1)


def _image(file: Path, annotation: Path, split: SplitName) -> LabelledImage | LeftOut:
    name = "/".join(file.parts[-3:])
    if not is_named_as_image(file):
        return LeftOut(NOT_AN_IMAGE, name)
    if not annotation.is_file():
        return LeftOut("image without a label", name)
    emotion = emotion_from_code(_code(annotation), CODES, place=str(annotation))
    if emotion in NO_EMOTION.values():
        return LeftOut(f"labelled {emotion}", name)
    return LabelledImage(name=name, image=file, emotion=emotion, split=split)


def _code(annotation: Path) -> str:
    """Return the one value of an array file, a number in some copies and text in others.

    The header is read first: ``np.load`` allocates the shape that it promises before it looks for
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

"""A labelled face, wherever it comes from, and a set of them."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from motivnet.datasets.tiff import TIFF_SUFFIXES, decode_tiff
from motivnet.files import read_bytes
from motivnet.images import MAX_BYTES, decode_image

Part = Literal["train", "val", "test"]
"""What a dataset says an image is for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GreyPixels:
    """An 8-bit grey image inside another file, row by row; ``size`` is (height, width)."""

    data: bytes
    size: tuple[int, int]

    def __post_init__(self) -> None:
        if min(self.size) < 1 or len(self.data) != math.prod(self.size):
            raise ValueError(
                f"{len(self.data)} grey levels are not an image of {self.size[0]} x {self.size[1]}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RGBPixels:
    """An RGB image of 8 bits a colour that was never a file, row by row; ``size`` is (height, width)."""

    data: bytes
    size: tuple[int, int]

    def __post_init__(self) -> None:
        if min(self.size) < 1 or len(self.data) != 3 * math.prod(self.size):
            raise ValueError(
                f"{len(self.data)} bytes are not an RGB image of {self.size[0]} x {self.size[1]}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One face.

    ``name`` is its place in the dataset, unique there (``train/happy/1.jpg``, ``fer2013.csv:17``);
    ``label`` is an index into the model's labels; ``distribution`` over these labels sums to 1 and
    stands where several people voted; ``person`` is who is seen, so that nobody is in two parts of
    a split.
    """

    name: str
    image: Path | GreyPixels | RGBPixels
    label: int
    distribution: tuple[float, ...] | None = None
    part: Part | None = None
    person: str | None = None

    def encoded(self) -> bytes:
        """The bytes of the file, or the bare pixels, whose hash names the image.

        Raises:
            FileError: If the file is missing, not a regular file or too large.
        """
        return (
            read_bytes(self.image, max_bytes=MAX_BYTES)
            if isinstance(self.image, Path)
            else self.image.data
        )

    def digest(self) -> str:
        """Hexadecimal SHA-256 of ``encoded``, and of the size of bare pixels."""
        return self.digest_of(self.encoded())

    def digest_of(self, data: bytes) -> str:
        """The digest, of bytes that were read before."""
        size = "" if isinstance(self.image, Path) else f"{self.image.size}"
        return hashlib.sha256(size.encode() + data).hexdigest()

    def pixels(self) -> NDArray[np.uint8]:
        """RGB ``(H, W, 3)``.

        Raises:
            FileError: If the file is missing, not a regular file or too large.
            ImageError: If it is not an image of an accepted format, is damaged, or exceeds the
            limits.
        """
        return self.decode(self.encoded())

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """RGB ``(H, W, 3)`` of what ``encoded`` has returned, so that a caller who also hashes it
        reads it once.

        Raises:
            ImageError: If it is not an image of an accepted format, is damaged, or exceeds the
            limits.
        """
        if isinstance(self.image, GreyPixels):
            grey = np.frombuffer(data, np.uint8).reshape(self.image.size)
            return np.repeat(grey[:, :, None], 3, axis=2)
        if isinstance(self.image, RGBPixels):
            return np.frombuffer(data, np.uint8).reshape(*self.image.size, 3).copy()
        decoder = decode_tiff if self.image.suffix.casefold() in TIFF_SUFFIXES else decode_image
        return decoder(data, name=str(self.image))


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Labelled faces in a fixed order, and what was left out.

    ``layout`` names what the folder was recognised as; ``part`` is the one that alone was read,
    None for all of them; ``skipped`` counts by reason what is no sample; ``unreadable`` has the
    reason by name of each sample that was taken out because it cannot be decoded; ``digests`` has
    that of each sample by name where all of them were checked.
    """

    layout: str
    root: Path
    labels: tuple[str, ...]
    part: Part | None = None
    samples: tuple[Sample, ...]
    skipped: dict[str, int] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """Samples by label, in the order of the labels."""
        found = np.bincount([sample.label for sample in self.samples], minlength=len(self.labels))
        return dict(zip(self.labels, found.tolist(), strict=True))

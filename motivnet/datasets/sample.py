"""A labelled face, wherever its pixels are, and a dataset of them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from motivnet.datasets.left_out import Tally
from motivnet.files import read_bytes
from motivnet.images import USER_LIMITS, ImageLimits, decode_image

SplitName = Literal["train", "val", "test"]
"""The split of a dataset that an image belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawPixels:
    """An 8-bit image that is not a file, row by row: grey levels, or red, green and blue.

    ``size`` is (height, width).
    """

    data: bytes
    size: tuple[int, int]

    def __post_init__(self) -> None:
        pixels = math.prod(self.size)
        if min(self.size) < 1 or len(self.data) not in (pixels, 3 * pixels):
            raise ValueError(
                f"{len(self.data)} bytes are not a grey or RGB image of {self.size[0]} x "
                f"{self.size[1]}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One face with the label that a model should predict.

    ``name`` is unique in the dataset (``train/happy/1.jpg``, ``fer2013.csv:17``). ``label`` is an
    index into the model's labels. ``distribution`` over these labels sums to 1, where several
    people voted. ``person`` identifies who is seen, so that nobody is in two splits.
    """

    name: str
    image: Path | RawPixels
    label: int
    distribution: tuple[float, ...] | None = None
    split: SplitName | None = None
    person: str | None = None

    def encoded(self, limits: ImageLimits = USER_LIMITS) -> bytes:
        """Return the bytes of the file, or the raw pixels.

        Raises:
            FileError: If the file is missing, not a regular file or too large.
        """
        if isinstance(self.image, Path):
            return read_bytes(self.image, max_bytes=limits.max_bytes)
        return self.image.data

    def digest(self) -> str:
        """Return the hexadecimal SHA-256 of ``encoded``, and of the size of raw pixels."""
        return self.digest_of(self.encoded())

    def digest_of(self, data: bytes) -> str:
        """Return the digest of bytes that ``encoded`` has returned."""
        size = "" if isinstance(self.image, Path) else f"{self.image.size}"
        return hashlib.sha256(size.encode() + data).hexdigest()

    def pixels(self) -> NDArray[np.uint8]:
        """Return the RGB image ``(H, W, 3)``.

        Raises:
            FileError: If the file is missing, not a regular file or too large.
            ImageError: If it is not an image of an accepted format, is damaged, or exceeds the
                limits.
        """
        return self.decode(self.encoded())

    def decode(self, data: bytes, limits: ImageLimits = USER_LIMITS) -> NDArray[np.uint8]:
        """Return the RGB image ``(H, W, 3)`` in bytes that ``encoded`` has returned.

        Raises:
            ImageError: As ``pixels``.
        """
        if isinstance(self.image, RawPixels):
            pixels = np.frombuffer(data, np.uint8).reshape(*self.image.size, -1)
            return np.repeat(pixels, 3 // pixels.shape[2], axis=2)
        return decode_image(data, name=str(self.image), limits=limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Labelled faces in a fixed order, and what was left out.

    ``format`` names the dataset format that was recognised. ``split`` is the only one that was
    read, None for all. ``left_out`` tells which entries are not samples, and why. ``unreadable``
    has the reason by name for each image that cannot be decoded. ``digests`` has the digest by
    name for each sample, where the images were checked.
    """

    format: str
    root: Path
    labels: tuple[str, ...]
    split: SplitName | None = None
    samples: tuple[Sample, ...]
    left_out: Tally = field(default_factory=Tally)
    unreadable: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)

    @property
    def skipped(self) -> dict[str, int]:
        """The number of entries that were left out by reason."""
        return self.left_out.counts

    def counts(self) -> dict[str, int]:
        """Return the number of samples by label, in the order of the labels."""
        found = np.bincount([sample.label for sample in self.samples], minlength=len(self.labels))
        return dict(zip(self.labels, found.tolist(), strict=True))


def target_distributions(samples: Sequence[Sample], *, classes: int) -> NDArray[np.float32]:
    """Return the distribution over the labels of each sample ``(N, classes)``: soft or one-hot."""
    targets = np.zeros((len(samples), classes), np.float32)
    for row, sample in zip(targets, samples, strict=True):
        if sample.distribution is None:
            row[sample.label] = 1.0
        else:
            row[:] = sample.distribution
    return targets

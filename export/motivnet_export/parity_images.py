"""Images to compare an artifact with PyTorch on, and images that calibrate INT8 and FP8."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from motivnet.config import ModelConfig
from motivnet.datasets.check import UNREADABLE
from motivnet.datasets.image_folders import ImageFiles, pick_evenly, walk_images
from motivnet.datasets.left_out import LeftOut, Tally, tally
from motivnet.datasets.sample import Sample
from motivnet.errors import ConfigError, FileError, ImageError
from motivnet.labels import EMOTIONS
from motivnet.path_kind import is_folder
from motivnet.preprocess import Preprocessing
from motivnet.synthetic import synthetic_faces
from motivnet_engines.faces.alignment import aligned

logger = logging.getLogger(__name__)

MAX_IMAGES = 1_000
"""To compare on; all of them are in memory."""

CALIBRATION_IMAGES, CALIBRATION_IMAGES_OF_LARGE = 64, 8
"""The most images that ranges are measured on; a large model takes minutes for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSet:
    """Pixels at the model's size ``(N, H, W, 3)``, and a line on where they came from."""

    pixels: NDArray[np.uint8]
    source: str
    drawn: bool


def check_num_images(count: int | None) -> None:
    """Refuse a number of images that no comparison needs.

    Raises:
        ConfigError: If it is out of range.
    """
    if count is not None and not 1 <= count <= MAX_IMAGES:
        raise ConfigError(f"--num-images must be between 1 and {MAX_IMAGES:,}, not {count}")


def choose_parity_images(
    config: ModelConfig, preprocessing: Preprocessing, *, folder: Path | None, count: int | None
) -> ImageSet:
    """Return images of a folder, picked evenly, or drawn faces without one.

    There are 16 of them if no count is given, 2 for a model that takes seconds per image.

    One that cannot be read is logged, and the next one is taken.

    Raises:
        ConfigError: If the folder has no image that can be read.
        FileError: If a folder in it cannot be read.
    """
    count = count or default_count(config)
    if folder is None:
        return _draw(preprocessing, count, seed=0)
    found = _images_in(folder, option="--images")
    found.warn()
    picked = _read(found.files, count, preprocessing)
    return picked.image_set(folder)


def choose_calibration_images(
    config: ModelConfig,
    preprocessing: Preprocessing,
    *,
    folder: Path | None,
    parity_folder: Path | None,
    parity_count: int | None,
) -> ImageSet:
    """Return images to measure ranges on, without those of the comparison if there are others.

    Without a folder they are drawn faces. ``parity_folder`` and ``parity_count`` are what
    ``choose_parity_images`` was given.

    Raises:
        ConfigError, FileError: As ``choose_parity_images``.
    """
    count = CALIBRATION_IMAGES_OF_LARGE if _is_large(config) else CALIBRATION_IMAGES
    if folder is None:
        return _draw(preprocessing, count, seed=1)
    found = _images_in(folder, option="--calibration-images")
    compared: set[str] = set()
    if parity_folder is not None:
        parity_files = _images_in(parity_folder, option="--images").files
        picked = _read(parity_files, parity_count or default_count(config), preprocessing)
        compared = set(map(os.path.realpath, picked.pixels))
    if folder != parity_folder:
        found.warn()  # else it was said when the parity images were chosen
    others = [path for path in found.files if os.path.realpath(path) not in compared]
    return _read(others or found.files, count, preprocessing).image_set(folder)


def default_count(config: ModelConfig) -> int:
    """Return how many images are compared: few for a model that takes many seconds per image."""
    return 2 if _is_large(config) else 16


def _is_large(config: ModelConfig) -> bool:
    return config.encoder.tokens * config.encoder.embed_dim > 1_000_000


def _draw(preprocessing: Preprocessing, count: int, *, seed: int) -> ImageSet:
    faces = synthetic_faces(count, seed=seed, size=preprocessing.size, labels=EMOTIONS)
    pixels = np.stack([preprocessing.pixels(face) for face in faces])
    return ImageSet(pixels=pixels, source=f"drawn faces, seed {seed}", drawn=True)


class _Picked(NamedTuple):
    """The images that were read, by path, and those that could not be."""

    pixels: dict[Path, NDArray[np.uint8]]
    unreadable: Tally

    def image_set(self, folder: Path) -> ImageSet:
        """Return the images in the order of their paths; what could not be read is logged."""
        if not self.pixels:
            raise ConfigError(f"{folder} has no image that can be read: {self.unreadable}")
        if self.unreadable.counts:
            logger.warning("%s: left out %s", folder, self.unreadable)
        return ImageSet(
            pixels=np.stack([self.pixels[path] for path in sorted(self.pixels)]),
            source=f"images of {folder.name}/",
            drawn=False,
        )


def _read(paths: Sequence[Path], count: int, preprocessing: Preprocessing) -> _Picked:
    """Read evenly spread images, and others in the place of those that cannot be read."""
    picked = pick_evenly(paths, count)
    others = sorted(set(paths).difference(picked))
    read: dict[Path, NDArray[np.uint8]] = {}
    unreadable: list[LeftOut] = []
    for path in itertools.chain(picked, others):
        if len(read) == len(picked):
            break
        try:
            face = aligned(preprocessing, Sample(name="", image=path, label=0).pixels())
            read[path] = preprocessing.pixels(face)
        except (FileError, ImageError) as error:
            unreadable.append(LeftOut(UNREADABLE, str(error).replace(str(path), path.name, 1)))
    return _Picked(read, tally(unreadable))


def _images_in(folder: Path, *, option: str) -> ImageFiles:
    if not is_folder(folder):
        raise ConfigError(f"{folder} is not a folder; {option} takes a folder of images")
    found = walk_images(folder)
    found.refuse_unreadable()
    if not found.files:
        left_out = found.describe()
        reason = f" ({left_out})" if left_out else ""
        raise ConfigError(f"{folder} has no image{reason}; {option} takes a folder of images")
    return found

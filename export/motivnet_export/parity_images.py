"""Images to compare an artifact with PyTorch on, and images that calibrate INT8 and FP8."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motivnet.config import ModelConfig
from motivnet.datasets.image_folders import files_below, pick_evenly
from motivnet.errors import ConfigError, ImageError
from motivnet.files import kind_of
from motivnet.images import IMAGE_SUFFIXES, read_image
from motivnet.labels import EMOTIONS
from motivnet.preprocess import Preprocessing
from motivnet.synthetic import synthetic_faces

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

    Raises:
        ConfigError: If the folder has no image.
        ImageError: If one of the picked images cannot be read.
    """
    count = count or default_count(config)
    if folder is None:
        return _draw(preprocessing, count, seed=0)
    picked = pick_evenly(_images_in(folder, option="--images"), count)
    return _read(picked, folder, preprocessing)


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
        ConfigError, ImageError: As ``choose_parity_images``.
    """
    count = CALIBRATION_IMAGES_OF_LARGE if _is_large(config) else CALIBRATION_IMAGES
    if folder is None:
        return _draw(preprocessing, count, seed=1)
    paths = _images_in(folder, option="--calibration-images")
    compared: set[Path] = set()
    if parity_folder is not None:
        parity_paths = _images_in(parity_folder, option="--images")
        picked = pick_evenly(parity_paths, parity_count or default_count(config))
        compared = {path.resolve() for path in picked}
    others = [path for path in paths if path.resolve() not in compared]
    return _read(pick_evenly(others or paths, count), folder, preprocessing)


def default_count(config: ModelConfig) -> int:
    """Return how many images are compared: few for a model that takes many seconds per image."""
    return 2 if _is_large(config) else 16


def _is_large(config: ModelConfig) -> bool:
    rows, columns = config.encoder.grid_size
    return rows * columns * config.encoder.embed_dim > 1_000_000


def _draw(preprocessing: Preprocessing, count: int, *, seed: int) -> ImageSet:
    faces = synthetic_faces(count, seed=seed, size=preprocessing.size, labels=EMOTIONS)
    pixels = np.stack([preprocessing.pixels(face) for face in faces])
    return ImageSet(pixels=pixels, source=f"drawn faces, seed {seed}", drawn=True)


def _read(paths: list[Path], folder: Path, preprocessing: Preprocessing) -> ImageSet:
    pixels = []
    for path in paths:
        try:
            pixels.append(preprocessing.pixels(read_image(path)))
        except ImageError as error:
            raise ImageError(f"{error}; take it out of the folder") from error
    return ImageSet(pixels=np.stack(pixels), source=f"images of {folder.name}/", drawn=False)


def _images_in(folder: Path, *, option: str) -> list[Path]:
    is_folder = kind_of(folder) == "folder"
    paths = files_below(folder) if is_folder else []
    if not paths:
        problem = "has no image" if is_folder else "is not a folder"
        raise ConfigError(
            f"{folder} {problem}; {option} takes a folder of images "
            f"({', '.join(sorted(IMAGE_SUFFIXES))})"
        )
    return paths

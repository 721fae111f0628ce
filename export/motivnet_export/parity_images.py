"""The images that a build is judged on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motivnet.config import ModelConfig
from motivnet.errors import ConfigError, ImageError
from motivnet.images import IMAGE_SUFFIXES, read_image
from motivnet.labels import EMOTIONS
from motivnet.preprocess import InputRecipe
from motivnet.synthetic import synthetic_faces

SEED = 0
_LARGE_TOKENS_TIMES_WIDTH = 1_000_000

MAX_IMAGES = 1_000
"""Of a verdict; all of them are in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateImages:
    """Pixels at the model's size ``(N, H, W, 3)``, a line that says where they came from, and whether we drew them."""

    pixels: NDArray[np.uint8]
    source: str
    drawn: bool


def gate_images(
    config: ModelConfig, recipe: InputRecipe, *, folder: Path | None, count: int | None
) -> GateImages:
    """Images of the user's folder, evenly picked, or seeded drawn faces where there is none.

    Args:
        count: How many; by default 16, and 2 for a model that takes seconds an image.

    Raises:
        ConfigError: If the folder has no image, or the count is out of range.
        ImageError: If one of the picked images cannot be read.
    """
    check_count(count)
    count = count or default_count(config)
    if folder is None:
        return _drawn(recipe, count, seed=SEED)
    return _read_all(_picked(_paths(folder), count), folder, recipe)


def check_count(count: int | None) -> None:
    """Refuses a number of images that no verdict needs.

    Raises:
        ConfigError: If it is out of range.
    """
    if count is not None and not 1 <= count <= MAX_IMAGES:
        raise ConfigError(f"--parity-images must be between 1 and {MAX_IMAGES:,}, not {count}")


def calibration_images(
    config: ModelConfig, recipe: InputRecipe, *, folder: Path | None, count: int, judges: int | None
) -> GateImages:
    """Images to measure ranges on: none of those that judge the result, unless the folder has no
    others.

    Args:
        count: The most of them.
        judges: What ``gate_images`` was given as ``count``.

    Raises:
        ConfigError, ImageError: As ``gate_images``.
    """
    if folder is None:
        return _drawn(recipe, count, seed=SEED + 1)
    paths = _paths(folder)
    judging = set(_picked(paths, judges or default_count(config)))
    return _read_all(
        _picked([path for path in paths if path not in judging] or paths, count), folder, recipe
    )


def default_count(config: ModelConfig) -> int:
    """Images enough for a verdict, few enough for a model whose PyTorch takes many seconds an image."""
    return 2 if is_large(config) else 16


def is_large(config: ModelConfig) -> bool:
    """Whether a model takes many seconds an image on a CPU."""
    rows, columns = config.encoder.grid_size
    return rows * columns * config.encoder.embed_dim > _LARGE_TOKENS_TIMES_WIDTH


def _drawn(recipe: InputRecipe, count: int, *, seed: int) -> GateImages:
    faces = synthetic_faces(count, seed=seed, size=recipe.size, labels=EMOTIONS)
    return GateImages(pixels=_stack(faces, recipe), source=f"drawn faces, seed {seed}", drawn=True)


def _read_all(paths: list[Path], folder: Path, recipe: InputRecipe) -> GateImages:
    pixels = _stack([_read(path) for path in paths], recipe)
    return GateImages(pixels=pixels, source=f"images of {folder.name}/", drawn=False)


def _paths(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder; --calibration takes a folder of images")
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
    )
    if not paths:
        raise ConfigError(
            f"{folder} has no image ({', '.join(sorted(IMAGE_SUFFIXES))}); --calibration takes a folder of images"
        )
    return paths


def _picked(paths: list[Path], count: int) -> list[Path]:
    """Evenly spread over all of them."""
    steps = np.linspace(0, len(paths) - 1, num=min(count, len(paths)))
    return [paths[int(step)] for step in steps]


def _read(path: Path) -> NDArray[np.uint8]:
    try:
        return read_image(path)
    except ImageError as error:
        raise ImageError(f"{error}; take it out of the calibration folder") from error


def _stack(images: list[NDArray[np.uint8]], recipe: InputRecipe) -> NDArray[np.uint8]:
    return np.stack([recipe.pixels(image) for image in images])

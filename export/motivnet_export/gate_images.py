"""The images that a build is judged on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motivnet.config import ModelConfig
from motivnet.errors import ConfigError, ImageError
from motivnet.images import read_image
from motivnet.labels import EMOTIONS
from motivnet.preprocess import InputRecipe
from motivnet.synthetic import synthetic_faces

SEED = 0
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
_LARGE_TOKENS_TIMES_WIDTH = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class GateImages:
    """Pixels at the model's size ``(N, H, W, 3)``, and a line that says where they came from."""

    pixels: NDArray[np.uint8]
    source: str

    def chunks(self) -> list[NDArray[np.uint8]]:
        """The first image alone, the others three at a time: a batch that is not free would show."""
        starts = range(1, len(self.pixels), 3)
        return [self.pixels[:1], *(self.pixels[start : start + 3] for start in starts)]


def gate_images(config: ModelConfig, recipe: InputRecipe, *, folder: Path | None, count: int | None) -> GateImages:
    """Images of the user's folder, evenly picked, or seeded drawn faces where there is none.

    Args:
        count: How many; by default 16, and 2 for a model that takes seconds an image.

    Raises:
        ConfigError: If the folder has no image.
        ImageError: If one of the picked images cannot be read.
    """
    count = count or default_count(config)
    if folder is None:
        faces = synthetic_faces(count, seed=SEED, size=recipe.size, labels=EMOTIONS)
        return GateImages(pixels=_stack(faces, recipe), source=f"drawn faces, seed {SEED}")
    paths = _pick(folder, count)
    return GateImages(pixels=_stack([_read(path) for path in paths], recipe), source=f"images of {folder.name}/")


def default_count(config: ModelConfig) -> int:
    """Images enough for a verdict, few enough for a model whose PyTorch takes many seconds an image."""
    rows, columns = config.encoder.grid_size
    return 2 if rows * columns * config.encoder.embed_dim > _LARGE_TOKENS_TIMES_WIDTH else 16


def _pick(folder: Path, count: int) -> list[Path]:
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder; --calibration takes a folder of images")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
    if not paths:
        raise ConfigError(f"{folder} has no image ({', '.join(_SUFFIXES)}); --calibration takes a folder of images")
    steps = np.linspace(0, len(paths) - 1, num=min(count, len(paths)))
    return [paths[int(step)] for step in steps]


def _read(path: Path) -> NDArray[np.uint8]:
    try:
        return read_image(path)
    except ImageError as error:
        raise ImageError(f"{error}; take it out of the calibration folder") from error


def _stack(images: list[NDArray[np.uint8]], recipe: InputRecipe) -> NDArray[np.uint8]:
    return np.stack([recipe.pixels(image) for image in images])

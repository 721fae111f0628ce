"""From a decoded image to a model's input, by one of the two published recipes.

The authors train on images stretched to the model's size and infer on images that are made square
and padded with white; an artifact says which of the two it was made for. Resizing is OpenCV's
bilinear (half-pixel centres, no antialiasing), as in both published scripts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from motivnet.config import MAX_SIDE
from motivnet.errors import ConfigError, InputError

RecipeName = Literal["stretch", "square-white-pad"]
RECIPE_NAMES: tuple[RecipeName, ...] = ("stretch", "square-white-pad")
WHITE = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRecipe:
    """How an RGB image becomes a model's input: ``size`` is (height, width); mean and std are in grey levels."""

    name: RecipeName
    size: tuple[int, int]
    mean: tuple[float, float, float] = (123.5, 116.5, 103.5)
    std: tuple[float, float, float] = (58.5, 57.0, 57.5)

    def __post_init__(self) -> None:
        if min(self.size) < 1 or min(self.std) <= 0:
            raise ConfigError(
                f"recipe sizes and deviations must be positive, not {self.size} and {self.std}"
            )
        if max(self.size) > MAX_SIDE:
            raise ConfigError(f"recipe sizes must be at most {MAX_SIDE}, not {self.size}")

    @classmethod
    def named(cls, name: str, *, size: tuple[int, int] = (1024, 768)) -> InputRecipe:
        """A published recipe: ``stretch`` (training) or ``square-white-pad`` (the authors'
        inference script).

        Raises:
            ConfigError: If there is no recipe of that name.
        """
        for known in RECIPE_NAMES:
            if name == known:
                return cls(name=known, size=size)
        raise ConfigError(f"no input recipe is called {name!r}; choose {' or '.join(RECIPE_NAMES)}")

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The normalised input ``(3, height, width)`` of an RGB image ``(H, W, 3)``."""
        return self.normalise(self.pixels(image))

    def pixels(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The RGB image ``(H, W, 3)`` at the model's size ``(height, width, 3)``, still in grey
        levels.

        Raises:
            InputError: If the array is not an RGB image of bytes.
        """
        resized = self.resized(image)
        if resized.shape[:2] == self.size:
            return resized
        canvas = np.full((*self.size, 3), WHITE, np.uint8)
        self.content(canvas)[:] = resized
        return canvas

    def resized(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The RGB image ``(H, W, 3)`` as large as the recipe makes it, before anything is put
        around it.

        Raises:
            InputError: If the array is not an RGB image of bytes.
        """
        check_image(image)
        height, width = self.content_size
        return np.asarray(
            cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8
        )

    def content(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The part of ``(…, height, width, 3)`` that the image fills, as a view: all but the white around it."""
        rows, columns = self.content_size
        top, left = (self.size[0] - rows) // 2, (self.size[1] - columns) // 2
        return pixels[..., top : top + rows, left : left + columns, :]

    @property
    def content_size(self) -> tuple[int, int]:
        """(height, width) of the image inside the model's input."""
        return self.size if self.name == "stretch" else (min(self.size), min(self.size))

    def normalise(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Channels first and normalised: ``(…, H, W, 3)`` of bytes to ``(…, 3, H, W)`` of float32."""
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        scaled = (pixels.astype(np.float32) - mean) / std
        return np.ascontiguousarray(np.moveaxis(scaled, -1, -3))


def check_image(image: NDArray[np.uint8]) -> None:
    """Returns when the array is an RGB image ``(H, W, 3)`` of bytes.

    Raises:
        InputError: If it is not, or it is empty.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise InputError(
            f"an image must be (H, W, 3) of uint8 in RGB, not {image.shape} of {image.dtype}"
        )

"""From a decoded image to a model's input, by one of the two published ways.

The authors train on images stretched to the model's size (``stretch``) and infer on images made
square and padded with white (``square-white-pad``). Both resize with OpenCV's bilinear
interpolation (half-pixel centres, no antialiasing).
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from motivnet.config import MAX_SIDE
from motivnet.errors import ConfigError, InputError
from motivnet.schema import Schema

PreprocessingName = Literal["stretch", "square-white-pad"]
PREPROCESSING_NAMES: tuple[PreprocessingName, ...] = ("stretch", "square-white-pad")
WHITE = 255

Alignment = Literal["five-points"]


class Preprocessing(Schema, frozen=True, kw_only=True):
    """How an RGB image becomes a model's input.

    Attributes:
        size: (height, width) of the input in pixels.
        mean: Subtracted from each channel, in grey levels.
        std: What each channel is then divided by.
        align: Before that, faces are aligned by five points (``motivnet_engines.faces.alignment``).
            Not written where it is not set, so that a description without it stays as it was.
    """

    name: PreprocessingName
    size: tuple[int, int]
    mean: tuple[float, float, float] = (123.5, 116.5, 103.5)
    std: tuple[float, float, float] = (58.5, 57.0, 57.5)
    align: Alignment | UnsetType = UNSET

    def __post_init__(self) -> None:
        if min(self.size) < 1 or max(self.size) > MAX_SIDE:
            raise ConfigError(
                f"preprocessing sizes must be between 1 and {MAX_SIDE}, not {list(self.size)}"
            )
        if min(self.std) <= 0:
            raise ConfigError(f"preprocessing deviations must be positive, not {list(self.std)}")

    @classmethod
    def named(
        cls, name: str, *, size: tuple[int, int] = (1024, 768), align: bool = False
    ) -> Preprocessing:
        """Return a published preprocessing, by its name, for an input of (height, width).

        Args:
            align: Whether faces are aligned before.

        Raises:
            ConfigError: If there is none of that name.
        """
        for known in PREPROCESSING_NAMES:
            if name == known:
                return cls(name=known, size=size, align="five-points" if align else UNSET)
        choices = " or ".join(PREPROCESSING_NAMES)
        raise ConfigError(f"no preprocessing is called {name!r}; choose {choices}")

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the normalised input ``(3, height, width)`` of an RGB image ``(H, W, 3)``."""
        return self.normalise(self.pixels(image))

    def pixels(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the image at the model's size ``(height, width, 3)``, still in grey levels.

        Raises:
            InputError: If the array is not an RGB image of bytes ``(H, W, 3)``.
        """
        resized = self.resized(image)
        if resized.shape[:2] == self.size:
            return resized
        canvas = np.full((*self.size, 3), WHITE, np.uint8)
        self.content(canvas)[:] = resized
        return canvas

    def resized(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the image at ``content_size``, before white is put around it.

        Raises:
            InputError: If the array is not an RGB image of bytes ``(H, W, 3)``.
        """
        check_image(image)
        height, width = self.content_size
        return np.asarray(
            cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8
        )

    def content(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the view of ``(…, height, width, 3)`` that the image fills, without the white."""
        rows, columns = self.content_size
        top, left = (self.size[0] - rows) // 2, (self.size[1] - columns) // 2
        return pixels[..., top : top + rows, left : left + columns, :]

    @property
    def aligns(self) -> bool:
        """Whether faces have to be aligned before ``__call__``, which does not."""
        return self.align is not UNSET

    @property
    def text(self) -> str:
        """The name, and that faces are aligned if they are: what makes two of one size differ."""
        return f"{self.name}, faces aligned by five points" if self.aligns else self.name

    @property
    def content_size(self) -> tuple[int, int]:
        """(height, width) of the image inside the model's input."""
        return self.size if self.name == "stretch" else (min(self.size), min(self.size))

    def normalise(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return bytes ``(…, H, W, 3)`` normalised and channels first, ``(…, 3, H, W)``."""
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        scaled = (pixels.astype(np.float32) - mean) / std
        return np.ascontiguousarray(np.moveaxis(scaled, -1, -3))


def check_image(image: NDArray[np.uint8]) -> None:
    """Check that an array is an RGB image ``(H, W, 3)`` of bytes.

    Raises:
        InputError: If it is not, or it is empty.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise InputError(
            f"an image must be (H, W, 3) of uint8 in RGB, not {image.shape} of {image.dtype}"
        )

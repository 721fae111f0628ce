"""Changes to a face that keep its emotion: a pure function of seed, epoch and index."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from motivnet_training.recipe import Augmentations

Pixels = NDArray[np.uint8]

_DEGREES = 10.0
_ZOOM = 0.1
_SHIFT = 0.05  # of the image's sides
_CONTRAST = 0.2
_GREY_LEVELS = 20.0
_COLOUR = 0.15
_ERASED = (0.1, 0.25)  # of the image's sides


def augment(pixels: Pixels, kind: Augmentations, *, key: tuple[int, int, int]) -> Pixels:
    """Return an RGB image ``(H, W, 3)`` changed at random; ``key`` is (seed, epoch, index).

    ``mirror`` exchanges left and right in half of the cases. ``strong`` also rotates, zooms and
    shifts, changes contrast, brightness and colours, and erases a patch in half of the cases (Zhong
    et al. 2020).
    """
    if kind == "none":
        return pixels
    rng = np.random.default_rng(key)
    if rng.random() < 0.5:
        pixels = np.ascontiguousarray(pixels[:, ::-1])
    if kind == "mirror":
        return pixels
    return _erase(_change_light(_move(pixels, rng), rng), rng)


def is_mirrored(*, key: tuple[int, int, int]) -> bool:
    """Return whether ``augment`` exchanges left and right of the image with this key."""
    return bool(np.random.default_rng(key).random() < 0.5)


def _move(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    height, width = pixels.shape[:2]
    angle = rng.uniform(-_DEGREES, _DEGREES)
    zoom = 1 + rng.uniform(-_ZOOM, _ZOOM)
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, zoom)
    matrix[0, 2] += rng.uniform(-_SHIFT, _SHIFT) * width
    matrix[1, 2] += rng.uniform(-_SHIFT, _SHIFT) * height
    moved = cv2.warpAffine(
        pixels, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, np.uint8)


def _change_light(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    contrast = 1 + rng.uniform(-_CONTRAST, _CONTRAST)
    brightness = rng.uniform(-_GREY_LEVELS, _GREY_LEVELS)
    gains = 1 + rng.uniform(-_COLOUR, _COLOUR, 3)
    levels = ((np.arange(256.0)[:, None] - 128) * contrast + 128 + brightness) * gains  # (256, 3)
    return np.asarray(cv2.LUT(pixels, np.clip(levels, 0, 255).astype(np.uint8)[None]), np.uint8)


def _erase(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    if rng.random() < 0.5:
        return pixels
    height, width = pixels.shape[:2]
    rows, columns = (max(1, int(side * rng.uniform(*_ERASED))) for side in (height, width))
    top = int(rng.integers(0, height - rows + 1))
    left = int(rng.integers(0, width - columns + 1))
    pixels = pixels.copy()
    pixels[top : top + rows, left : left + columns] = rng.integers(0, 256, 3, np.uint8)
    return pixels

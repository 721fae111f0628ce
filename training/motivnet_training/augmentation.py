"""Changes to a face that leave its emotion: a pure function of seed, epoch and index."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from motivnet_training.recipe import Augmentations

Pixels = NDArray[np.uint8]

_TURN = 10.0
_ZOOM = 0.1
_SHIFT = 0.05
_CONTRAST = 0.2
_BRIGHTNESS = 20.0
_COLOUR = 0.15
_ERASED = 0.25
"""Degrees; shares of the size; of the contrast; grey levels; of each colour; the largest side of what is erased."""


def augment(pixels: Pixels, kind: Augmentations, *, key: tuple[int, int, int]) -> Pixels:
    """An RGB image ``(H, W, 3)`` changed at random; ``key`` is (seed, epoch, index).

    ``mirror`` exchanges left and right in half of the cases. ``strong`` also turns, zooms and
    shifts, changes contrast, brightness and colours, and in half of the cases erases a patch (Zhong
    et al. 2020).
    """
    if kind == "none":
        return pixels
    rng = np.random.default_rng(key)
    if rng.random() < 0.5:
        pixels = np.ascontiguousarray(pixels[:, ::-1])
    return pixels if kind == "mirror" else _erased(_relit(_moved(pixels, rng), rng), rng)


def _moved(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    height, width = pixels.shape[:2]
    turn, zoom = rng.uniform(-_TURN, _TURN), 1 + rng.uniform(-_ZOOM, _ZOOM)
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), turn, zoom)
    matrix[0, 2] += rng.uniform(-_SHIFT, _SHIFT) * width
    matrix[1, 2] += rng.uniform(-_SHIFT, _SHIFT) * height
    moved = cv2.warpAffine(
        pixels, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, np.uint8)


def _relit(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    contrast, brightness = (
        1 + rng.uniform(-_CONTRAST, _CONTRAST),
        rng.uniform(-_BRIGHTNESS, _BRIGHTNESS),
    )
    gains = 1 + rng.uniform(-_COLOUR, _COLOUR, 3)
    levels = ((np.arange(256.0)[:, None] - 128) * contrast + 128 + brightness) * gains  # (256, 3)
    return np.asarray(cv2.LUT(pixels, np.clip(levels, 0, 255).astype(np.uint8)[None]), np.uint8)


def _erased(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    if rng.random() < 0.5:
        return pixels
    height, width = pixels.shape[:2]
    rows, columns = (max(1, int(side * rng.uniform(0.1, _ERASED))) for side in (height, width))
    top, left = int(rng.integers(0, height - rows + 1)), int(rng.integers(0, width - columns + 1))
    pixels = pixels.copy()
    pixels[top : top + rows, left : left + columns] = rng.integers(0, 256, 3, np.uint8)
    return pixels

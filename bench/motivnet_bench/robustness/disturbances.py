"""What happens to pictures of faces on their way to a model, in growing strengths.

Of the corruptions of Hendrycks & Dietterich 2019 (arXiv 1903.12261) those that a camera, a detector
or a codec does to a face. They change the picture before the artifact's own preprocessing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

GREY = (127, 127, 127)


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """A change of an RGB image ``(H, W, 3)`` at a strength; the generator decides what varies.

    ``unit`` follows the strengths in tables; the mildest comes first.
    """

    name: str
    unit: str
    strengths: tuple[float, ...]
    apply: Callable[[Pixels, float, np.random.Generator], Pixels]


def rotate(pixels: Pixels, degrees: float, random: np.random.Generator) -> Pixels:
    """Turn the image about its centre, to a side at random; its border is continued."""
    height, width = pixels.shape[:2]
    side = random.choice([-1.0, 1.0])
    centre = (width - 1) / 2, (height - 1) / 2
    matrix = np.asarray(cv2.getRotationMatrix2D(centre, side * degrees, 1.0), np.float64)
    return _warp(pixels, matrix)


def move_crop(pixels: Pixels, percent: float, random: np.random.Generator) -> Pixels:
    """Move and scale what the crop shows by so many percent of its size, as a detector errs."""
    height, width = pixels.shape[:2]
    share = percent / 100
    across, up = random.choice([-1.0, 1.0], size=2) * share
    scale = 1 + random.choice([-1.0, 1.0]) * share
    centre = (width - 1) / 2, (height - 1) / 2
    matrix = np.asarray(cv2.getRotationMatrix2D(centre, 0.0, scale), np.float64)
    matrix[:, 2] += across * width, up * height
    return _warp(pixels, matrix)


def blur(pixels: Pixels, percent: float, _: np.random.Generator) -> Pixels:
    """Blur with a Gaussian whose deviation is so many percent of the image's width."""
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), percent / 100 * pixels.shape[1]), np.uint8)


def compress(pixels: Pixels, quality: float, _: np.random.Generator) -> Pixels:
    """Compress as a JPEG of this quality."""
    options = [cv2.IMWRITE_JPEG_QUALITY, int(quality)]
    data = cv2.imencode(".jpg", pixels[..., ::-1], options)[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1]


def lighten(pixels: Pixels, percent: float, _: np.random.Generator) -> Pixels:
    """Multiply the light by so many percent; what is beyond white is white."""
    linear = (pixels.astype(np.float32) / 255) ** 2.2 * (percent / 100)
    return np.asarray(np.clip(linear, 0, 1) ** (1 / 2.2) * 255 + 0.5, np.uint8)


def shrink(pixels: Pixels, width: float, _: np.random.Generator) -> Pixels:
    """Scale to a width in pixels, if it is wider, as a face far away."""
    if pixels.shape[1] <= width:
        return pixels
    height = max(1, round(pixels.shape[0] * width / pixels.shape[1]))
    return np.asarray(cv2.resize(pixels, (int(width), height), interpolation=cv2.INTER_AREA))


def cover(pixels: Pixels, percent: float, random: np.random.Generator) -> Pixels:
    """Cover so many percent of the area with a grey rectangle of the image's shape, anywhere."""
    height, width = pixels.shape[:2]
    side = (percent / 100) ** 0.5
    rows, columns = round(side * height), round(side * width)
    top = int(random.integers(0, height - rows + 1))
    left = int(random.integers(0, width - columns + 1))
    covered: Pixels = np.array(pixels, np.uint8)
    covered[top : top + rows, left : left + columns] = GREY
    return covered


DISTURBANCES = (
    Disturbance(name="rotation", unit="°", strengths=(5, 10, 20, 30, 45), apply=rotate),
    Disturbance(name="crop", unit=" %", strengths=(5, 10, 20, 30), apply=move_crop),
    Disturbance(name="blur", unit=" % of the width", strengths=(0.5, 1, 2, 4), apply=blur),
    Disturbance(name="JPEG quality", unit="", strengths=(50, 20, 10, 5), apply=compress),
    Disturbance(name="less light", unit=" %", strengths=(50, 25, 10, 5), apply=lighten),
    Disturbance(name="more light", unit=" %", strengths=(150, 200, 400), apply=lighten),
    Disturbance(name="resolution", unit=" pixels", strengths=(96, 64, 48, 32, 24), apply=shrink),
    Disturbance(name="occlusion", unit=" % covered", strengths=(5, 10, 20, 40), apply=cover),
)


def _warp(pixels: Pixels, matrix: NDArray[np.float64]) -> Pixels:
    height, width = pixels.shape[:2]
    return np.asarray(
        cv2.warpAffine(
            pixels,
            matrix,
            (width, height),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        np.uint8,
    )

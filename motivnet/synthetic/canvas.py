"""Smooth shapes on an array of pixels, in coordinates of the face."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from motivnet.synthetic.person import Colour, Scene

Points = NDArray[np.float64]
"""``(N, 2)`` of (x, y) in half heads from the middle of the head; x to the right, y down."""

_FRACTION_BITS = 4
_RELIEF = 0.22


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """Pixels ``(H, W, 3)`` in RGB and where the head lies on them."""

    pixels: NDArray[np.uint8]
    matrix: NDArray[np.float64]
    unit: float
    yaw: float

    def locate(self, points: Points) -> NDArray[np.float64]:
        """Return the pixels of points on the front of the head, which its yaw moves sideways."""
        depth = np.clip(1.0 - points[:, :1] ** 2, 0.0, 1.0)
        turned = points + np.hstack([self.yaw * _RELIEF * depth, np.zeros_like(depth)])
        pixels: NDArray[np.float64] = turned @ self.matrix[:, :2].T + self.matrix[:, 2]
        return pixels

    def fill(self, points: Points, colour: Colour) -> None:
        """Fill a polygon."""
        cv2.fillPoly(
            self.pixels, [_fixed(self.locate(points))], _level(colour), cv2.LINE_AA, _FRACTION_BITS
        )

    def stroke(self, points: Points, colour: Colour, width: float) -> None:
        """Draw an open line of a width in half heads."""
        thickness = max(1, round(width * self.unit))
        corners = [_fixed(self.locate(points))]
        cv2.polylines(
            self.pixels, corners, False, _level(colour), thickness, cv2.LINE_AA, _FRACTION_BITS
        )

    def inside(self, outline: Points) -> tuple[Canvas, NDArray[np.uint8]]:
        """Return a copy of this canvas, and the mask of a polygon: the part of the copy to keep."""
        mask = np.zeros(self.pixels.shape[:2], np.uint8)
        cv2.fillPoly(mask, [_fixed(self.locate(outline))], 255.0, cv2.LINE_AA, _FRACTION_BITS)
        return replace(self, pixels=self.pixels.copy()), mask

    def keep(self, drawn: Canvas, mask: NDArray[np.uint8]) -> None:
        """Take what was drawn on a copy where the mask is set."""
        left, top, width, height = cv2.boundingRect(mask)
        region = np.s_[top : top + height, left : left + width]
        weight = mask[region][:, :, None].astype(np.float32) / 255
        mixed = self.pixels[region] * (1 - weight) + drawn.pixels[region] * weight
        self.pixels[region] = (mixed + 0.5).astype(np.uint8)


def canvas_for(size: tuple[int, int], scene: Scene) -> Canvas:
    """Return an empty canvas of (height, width) on which the head fills most of the picture."""
    height, width = size
    unit = scene.scale * min(height * 0.36, width * 0.48)
    cosine, sine = unit * math.cos(scene.roll), unit * math.sin(scene.roll)
    centre = width / 2 + scene.shift[0] * unit, height * 0.52 + scene.shift[1] * unit
    matrix = np.array([[cosine, -sine, centre[0]], [sine, cosine, centre[1]]])
    return Canvas(
        pixels=np.empty((height, width, 3), np.uint8), matrix=matrix, unit=unit, yaw=scene.yaw
    )


def curve(*knots: tuple[float, float], samples: int = 12) -> Points:
    """Return a smooth line: the Bézier curve of its control points."""
    t = np.linspace(0.0, 1.0, samples)[:, None]
    degree = len(knots) - 1
    terms = (
        math.comb(degree, i) * t**i * (1 - t) ** (degree - i) * np.array(knot)
        for i, knot in enumerate(knots)
    )
    return np.asarray(sum(terms), np.float64)


def ellipse(centre: tuple[float, float], radii: tuple[float, float], samples: int = 24) -> Points:
    """Return the outline of an upright ellipse."""
    angles = np.linspace(0.0, 2 * math.pi, samples, endpoint=False)
    return np.column_stack(
        [centre[0] + radii[0] * np.cos(angles), centre[1] + radii[1] * np.sin(angles)]
    )


def _fixed(pixels: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.rint(pixels * (1 << _FRACTION_BITS)).astype(np.int32)


def _level(colour: Colour) -> tuple[float, ...]:
    return tuple(np.clip(colour, 0, 255).tolist())

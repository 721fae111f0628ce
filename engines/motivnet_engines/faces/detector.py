"""Faces in a picture: what a detector is, what it returns, and the crop that the model reads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from motivnet.errors import InputError
from motivnet.prediction import Box

MARGIN = 0.2
"""On 134 rendered faces of a training set, the detector's box was 1 / 1.38 of the picture (1.19 to
1.57 for 90 %)."""

DETECTION_SIDE = 1600
"""Pixels of the longer side of a picture that a detector needs, and YuNet looks at."""


Point: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """A detected face.

    Args:
        box: Position in pixels of the rotated picture; always inside the picture.
        score: Confidence of the detector, from 0 to 1.
        points: (x, y) in the same pixels of the eye at the left of an upright picture, the other
            eye, the nose, and the corners of the mouth; None if the detector finds none.
    """

    box: Box
    score: float
    points: tuple[Point, ...] | None = None


class FaceDetector(Protocol):
    """Finds faces; one object may be used by several threads at once."""

    def detect(self, pixels: NDArray[np.uint8]) -> tuple[Face, ...]:
        """Return the faces of an RGB picture ``(H, W, 3)``, the largest first."""
        ...


def crop_side(box: Box, *, margin: float = MARGIN) -> int:
    """Return the side of ``square_crop`` in pixels."""
    return max(1, round(max(box.width, box.height) * (1 + 2 * margin)))


def square_crop(
    pixels: NDArray[np.uint8], box: Box, *, margin: float = MARGIN
) -> NDArray[np.uint8]:
    """Return the square ``(side, side, 3)`` around the centre of a box in an RGB picture.

    The face is not rotated or aligned. Beyond the edge of the picture the outermost pixels are
    repeated: white or black bars would be a shape that no face has.

    Args:
        margin: Added on each side, as a share of the longer side of the box.

    Raises:
        InputError: If the box lies outside the picture.
    """
    height, width = pixels.shape[:2]
    side = crop_side(box, margin=margin)
    left = math.floor(box.x + box.width / 2 - side / 2 + 0.5)
    top = math.floor(box.y + box.height / 2 - side / 2 + 0.5)
    inside = pixels[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)]
    if 0 in inside.shape:
        raise InputError(
            f"the box {box.to_dict()} lies outside the picture of {width} x {height} pixels"
        )
    beyond = (max(-top, 0), max(top + side - height, 0), max(-left, 0), max(left + side - width, 0))
    if not any(beyond):
        return np.ascontiguousarray(inside)
    return np.asarray(cv2.copyMakeBorder(inside, *beyond, cv2.BORDER_REPLICATE), np.uint8)

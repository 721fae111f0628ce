"""Faces turned upright, and scaled and moved to one position, by five points that YuNet finds.

The position is that of ArcFace's template for 112 x 112 pixels (Deng et al. 2019, arXiv
1801.07698), made smaller and moved so that an upright face keeps the size and place that it has in
``square_crop``: on 160 rendered faces its eyes were 24.2 % of the crop's side apart, and the mean
of its points 54 % below the upper edge.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from motivnet.preprocess import Preprocessing
from motivnet_engines.faces import open_detector
from motivnet_engines.faces.detector import FaceDetector, Point

_ARCFACE = np.array(
    [
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ]
)
"""The eye at the left of the picture, the other, the nose, the corners of the mouth."""

_ARCFACE_SIDE = 146.0
"""Of the aligned picture, in pixels of the template."""
_CENTRE = 0.5, 0.54

POSITION = (_ARCFACE - _ARCFACE.mean(axis=0)) / _ARCFACE_SIDE + _CENTRE
"""Where the points come to lie ``(5, 2)``, as (x, y) in shares of the aligned picture's side."""


def aligned(preprocessing: Preprocessing, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an RGB face ``(H, W, 3)`` as a preprocessing wants it: aligned if it aligns.

    A picture in which no face is found is returned as it is. Of several faces the largest is taken.
    """
    if not preprocessing.aligns:
        return pixels
    points = find_points(pixels)
    return pixels if points is None else align_face(pixels, points)


def find_points(
    pixels: NDArray[np.uint8], *, detector: FaceDetector | None = None
) -> tuple[Point, ...] | None:
    """Return the five points of the largest face in an RGB picture, None if there is no face."""
    faces = (detector or _yunet()).detect(np.ascontiguousarray(pixels))
    return faces[0].points if faces else None


def align_face(pixels: NDArray[np.uint8], points: Sequence[Point]) -> NDArray[np.uint8]:
    """Return the square ``(side, side, 3)`` in which five points lie at ``POSITION``, or nearly.

    Points are complex numbers p, their positions q, both less their means. The rotation, scale and
    shift q = a p + b that leaves the least squares has a = sum(conj(p) q) / sum(|p|^2): the
    similarity of Umeyama 1991 (doi 10.1109/34.88573) in the plane, without reflections. ``side`` is
    the longer side of the picture. Beyond its edge the outermost pixels are repeated.
    """
    side = max(pixels.shape[:2])
    found, wanted = np.asarray(points, np.float64), POSITION * side
    p = _complex(found - found.mean(axis=0))
    q = _complex(wanted - wanted.mean(axis=0))
    spread = float((np.abs(p) ** 2).sum())
    if spread == 0:
        return pixels  # all points in one place: no face
    a = complex((p.conj() * q).sum() / spread)
    turn = np.array([[a.real, -a.imag], [a.imag, a.real]])
    shift = wanted.mean(axis=0) - turn @ found.mean(axis=0)
    return np.asarray(
        cv2.warpAffine(
            pixels,
            np.column_stack([turn, shift]),
            (side, side),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        np.uint8,
    )


def _complex(points: NDArray[np.float64]) -> NDArray[np.complex128]:
    return points[:, 0] + 1j * points[:, 1]


@functools.lru_cache(maxsize=1)
def _yunet() -> FaceDetector:
    return open_detector()

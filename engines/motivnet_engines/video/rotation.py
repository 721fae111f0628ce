"""Frames as they are to be looked at: 8-bit RGB, turned and mirrored as the file says."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av import VideoFrame

_Pixels = NDArray[np.uint8]

_UPRIGHT: dict[tuple[int, int, int, int], Callable[[_Pixels], _Pixels]] = {
    (-1, 0, 0, 1): lambda pixels: pixels[:, ::-1],
    (-1, 0, 0, -1): lambda pixels: pixels[::-1, ::-1],
    (1, 0, 0, -1): lambda pixels: pixels[::-1],
    (0, 1, 1, 0): lambda pixels: pixels.transpose(1, 0, 2),
    (0, 1, -1, 0): lambda pixels: pixels[::-1].transpose(1, 0, 2),
    (0, -1, -1, 0): lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    (0, -1, 1, 0): lambda pixels: pixels[:, ::-1].transpose(1, 0, 2),
}
"""By the signs of (a, b, c, d): a stored point (x, y) is shown at (a x + c y, b x + d y) (ISO/IEC 14496-12, 6.2.2)."""


def pixels_of_frame(frame: VideoFrame) -> _Pixels:
    """Upright RGB pixels ``(H, W, 3)``; a matrix that is no quarter turn and no mirror image is left alone."""
    pixels: _Pixels = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    upright = _UPRIGHT.get(orientation_of_frame(frame))
    return pixels if upright is None else np.ascontiguousarray(upright(pixels))


def orientation_of_frame(frame: VideoFrame) -> tuple[int, int, int, int]:
    """The signs of the part of the display matrix that turns and mirrors; (1, 0, 0, 1) without one."""
    # A mapping by name, whatever the stubs say; iterating over it fails.
    side_data: Any = frame.side_data
    if "DISPLAYMATRIX" not in side_data:
        return (1, 0, 0, 1)
    matrix = np.sign(np.frombuffer(bytes(side_data["DISPLAYMATRIX"]), np.int32, count=9))
    return int(matrix[0]), int(matrix[1]), int(matrix[3]), int(matrix[4])

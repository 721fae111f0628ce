"""YuNet (MIT, OpenCV's model zoo) as a face detector, through OpenCV."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from motivnet.prediction import Box
from motivnet.preprocess import check_image
from motivnet_engines.faces.detector import DETECTION_SIDE, Face

THRESHOLD = 0.7
"""Upright faces of 48 pixels or more scored at least 0.9, rotated ones 0.79, everything else at
most 0.67."""
_COARSE_SIDE = 640
_FINE_FACES = 48
"""Pixels at the coarse scale. The fine scale shows only parts of larger faces, and parts look like
faces."""
_PART_SHARE = 0.5
"""A box with at least this share inside a larger one is a part of that face."""
_OVERLAP = 0.3
_CREATION = threading.Lock()


class YuNetDetector:
    """Finds faces of about 20 pixels and more; several threads may use it at once.

    A face may be rotated by any angle: of 154 photos, all were found upside down and 98 % lying on
    a side. Pictures are therefore not rotated to look again; that would find faces which a model
    of upright faces cannot read.

    YuNet knows faces of 10 to 300 pixels. The detector first looks at the picture with its longer
    side reduced to 640 pixels, which finds a face that fills it. A larger picture is looked at
    again with 1600 pixels, for small faces.

    Args:
        model: The bytes of the model, whose hash was checked, because native code parses them.
    """

    name = "yunet"

    def __init__(self, model: bytes) -> None:
        self._model = np.frombuffer(model, np.uint8)
        self._of_thread = threading.local()
        self._network()  # a model that OpenCV cannot open is an error here

    def detect(self, pixels: NDArray[np.uint8]) -> tuple[Face, ...]:
        """Return the faces of an RGB picture ``(H, W, 3)``, the largest first.

        Raises:
            InputError: If the array is not an RGB image of bytes.
        """
        check_image(pixels)
        longer = max(pixels.shape[:2])
        faces = self._detect_at(pixels, _COARSE_SIDE)
        if longer > _COARSE_SIDE:
            largest = _FINE_FACES * longer / _COARSE_SIDE
            coarse = [face.box for face in faces]
            for face in self._detect_at(pixels, DETECTION_SIDE):
                if face.box.height >= largest:
                    continue
                if not any(_is_part(face.box, box) for box in coarse):
                    faces.append(face)
        return tuple(sorted(faces, key=lambda face: face.box.area, reverse=True))

    def _detect_at(self, pixels: NDArray[np.uint8], side: int) -> list[Face]:
        """Detect with the longer side at most ``side``; boxes are in pixels of the full picture."""
        height, width = pixels.shape[:2]
        scale = min(1.0, side / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        scaled = pixels if scale == 1 else cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        network = self._network()
        network.setInputSize(size)
        rows = network.detect(cv2.cvtColor(scaled, cv2.COLOR_RGB2BGR))[1]
        factors = width / size[0], height / size[1]
        faces = (_face(row, factors, (width, height)) for row in ([] if rows is None else rows))
        return [face for face in faces if face is not None]

    def _network(self) -> cv2.FaceDetectorYN:
        """Return the calling thread's network: its input size is set before each call."""
        network: cv2.FaceDetectorYN | None = getattr(self._of_thread, "network", None)
        if network is None:
            with _CREATION, _without_warnings():
                network = self._of_thread.network = cv2.FaceDetectorYN.create(
                    "onnx",
                    self._model,
                    np.empty(0, np.uint8),
                    (_COARSE_SIDE, _COARSE_SIDE),
                    THRESHOLD,
                    _OVERLAP,
                    5000,  # candidates, before overlapping ones are merged
                )
        return network


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Silence OpenCV 5, whose new engine warns that it ignores a target that nobody has set."""
    log = getattr(cv2.utils, "logging", None)  # OpenCV 4 has none
    if log is None:
        yield
        return
    level = log.setLogLevel(log.LOG_LEVEL_ERROR)
    try:
        yield
    finally:
        log.setLogLevel(level)


def _face(
    row: NDArray[np.float32], factors: tuple[float, float], size: tuple[int, int]
) -> Face | None:
    """Return OpenCV's row (x, y, width, height, 10 landmarks, score) clipped to the picture."""
    x, width = (float(value) * factors[0] for value in (row[0], row[2]))
    y, height = (float(value) * factors[1] for value in (row[1], row[3]))
    left, top = max(x, 0.0), max(y, 0.0)
    right, bottom = min(x + width, size[0]), min(y + height, size[1])
    if not (right > left and bottom > top):
        return None
    return Face(
        box=Box(x=left, y=top, width=right - left, height=bottom - top),
        score=min(float(row[14]), 1.0),
        points=tuple(
            (float(x) * factors[0], float(y) * factors[1])
            for x, y in zip(row[4:14:2], row[5:14:2], strict=True)
        ),
    )


def _is_part(box: Box, other: Box) -> bool:
    width = min(box.x + box.width, other.x + other.width) - max(box.x, other.x)
    height = min(box.y + box.height, other.y + other.height) - max(box.y, other.y)
    return max(width, 0.0) * max(height, 0.0) >= _PART_SHARE * box.area

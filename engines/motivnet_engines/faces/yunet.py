"""YuNet (MIT, OpenCV's model zoo) as a face detector, through OpenCV."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from motivnet.box import Box
from motivnet.preprocess import check_image
from motivnet_engines.faces.detector import Face

THRESHOLD = 0.7
"""Upright faces of 48 pixels and more scored 0.9, turned ones 0.79 and more, and no other thing above 0.67."""
COARSE_SIDE = 640
FINE_SIDE = 1600
_FINE_FACES = 48
"""Pixels of the coarse picture; of larger faces the finer one shows only parts, which look like faces."""
_INSIDE = 0.5
"""Share of a box that lies in a larger one, from which on it is taken for a part of that face."""
_OVERLAP = 0.3
_CANDIDATES = 5000
_CREATION = threading.Lock()


class YuNetDetector:
    """Finds faces of about 20 pixels and more; several threads may use it at once.

    A face may be turned by any angle: of 154 photos all were found upside down, and 98 % lying on a
    side. So no picture is turned to look again; it would find a face that a model of upright ones
    cannot read.

    YuNet knows faces of 10 to 300 pixels. A picture is therefore looked at with its longer side
    made ``coarse_side``, where a face that fills it is found, and if it is larger than that also
    with ``fine_side``, for small faces.

    Args:
        model: The bytes of the model, whose hash was checked, because native code parses them.
        threshold: The least score of a face.
        coarse_side: Pixels; smaller is faster.
        fine_side: Pixels; None looks once.
    """

    name = "yunet"

    def __init__(
        self,
        model: bytes,
        *,
        threshold: float = THRESHOLD,
        coarse_side: int = COARSE_SIDE,
        fine_side: int | None = FINE_SIDE,
    ) -> None:
        self._model = np.frombuffer(model, np.uint8)
        self._threshold = threshold
        self._coarse_side = coarse_side
        self._fine_side = fine_side
        self._of_thread = threading.local()
        self._network()

    def detect(self, pixels: NDArray[np.uint8]) -> tuple[Face, ...]:
        """The faces of an RGB picture ``(H, W, 3)``, the largest first; empty if there is none.

        Raises:
            InputError: If the array is not an RGB image of bytes.
        """
        check_image(pixels)
        longer = max(pixels.shape[:2])
        found = self._found(pixels, self._coarse_side)
        if self._fine_side is not None and longer > self._coarse_side:
            smallest = _FINE_FACES * longer / self._coarse_side
            finer = [
                face for face in self._found(pixels, self._fine_side) if face.box.height < smallest
            ]
            found += [
                face for face in finer if not any(_is_part(face.box, other.box) for other in found)
            ]
        return tuple(sorted(found, key=lambda face: face.box.area, reverse=True))

    def _found(self, pixels: NDArray[np.uint8], side: int) -> list[Face]:
        """The faces of the picture when its longer side is at most ``side``, in the picture's own pixels."""
        height, width = pixels.shape[:2]
        scale = min(1.0, side / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        seen = pixels if scale == 1 else cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        network = self._network()
        network.setInputSize(size)
        rows = network.detect(cv2.cvtColor(seen, cv2.COLOR_RGB2BGR))[1]
        factors = width / size[0], height / size[1]
        faces = (_face(row, factors, (width, height)) for row in ([] if rows is None else rows))
        return [face for face in faces if face is not None]

    def _network(self) -> cv2.FaceDetectorYN:
        """The calling thread's own: an input size is set before each call, which two threads must not do at once."""
        network: cv2.FaceDetectorYN | None = getattr(self._of_thread, "network", None)
        if network is None:
            network = self._of_thread.network = self._create()
        return network

    def _create(self) -> cv2.FaceDetectorYN:
        nothing = np.empty(0, np.uint8)
        arguments = (
            "onnx",
            self._model,
            nothing,
            (self._coarse_side,) * 2,
            self._threshold,
            _OVERLAP,
            _CANDIDATES,
        )
        with _CREATION, _quiet():
            return cv2.FaceDetectorYN.create(*arguments)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """OpenCV 5 warns on standard error that its new engine ignores the target, which nobody has set; 4 does not."""
    log = getattr(cv2.utils, "logging", None)
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
    """A row of OpenCV's answer (x, y, width, height, ten of landmarks, score), clipped; None for one outside."""
    x, y, width, height = (
        float(value) * factor for value, factor in zip(row[:4], factors * 2, strict=True)
    )
    left, top = max(x, 0.0), max(y, 0.0)
    right, bottom = min(x + width, size[0]), min(y + height, size[1])
    if not (right > left and bottom > top):
        return None
    return Face(
        box=Box(x=left, y=top, width=right - left, height=bottom - top),
        score=min(float(row[14]), 1.0),
    )


def _is_part(box: Box, other: Box) -> bool:
    width = min(box.x + box.width, other.x + other.width) - max(box.x, other.x)
    height = min(box.y + box.height, other.y + other.height) - max(box.y, other.y)
    return max(width, 0.0) * max(height, 0.0) >= _INSIDE * box.area

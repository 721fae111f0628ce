"""What a face detector is: anything that turns the pixels of a picture into boxes of faces."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from motivnet.box import Box


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """A face that was found.

    Args:
        box: Where it is, in pixels of the upright picture; within the picture.
        score: How sure the detector is, from 0 to 1.
    """

    box: Box
    score: float


class FaceDetector(Protocol):
    """Finds faces; one object may be used by several threads at once."""

    def detect(self, pixels: NDArray[np.uint8]) -> tuple[Face, ...]:
        """The faces of an RGB picture ``(H, W, 3)``, the largest first; empty if there is none."""
        ...


def open_detector(path: Path | None = None) -> FaceDetector:
    """YuNet, with the model of a file or of the user's cache, into which it is fetched once.

    Raises:
        FileError: If the file is missing or is not the model, or the model cannot be fetched.
    """
    from motivnet_engines.faces.weights import yunet_model
    from motivnet_engines.faces.yunet import YuNetDetector

    return YuNetDetector(yunet_model(path))

"""What a face detector is: anything that turns the pixels of a picture into boxes of faces."""

from __future__ import annotations

from dataclasses import dataclass
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

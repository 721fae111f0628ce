"""A bound on the faces of one picture: a crowd must not take the memory of hundreds of prepared faces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motivnet_engines.faces.detector import Face, FaceDetector


@dataclass(slots=True, kw_only=True)
class LargestFaces:
    """A detector for one picture, of whose faces it keeps the ``limit`` largest and counts the others."""

    detector: FaceDetector
    limit: int
    left_out: int = 0

    def detect(self, pixels: NDArray[np.uint8]) -> tuple[Face, ...]:
        """The largest faces, in that order."""
        found = self.detector.detect(pixels)
        self.left_out = max(0, len(found) - self.limit)
        return found[: self.limit]

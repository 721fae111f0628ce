"""What became of one image: its faces and the time it took."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from motivnet.prediction import Prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Milliseconds: ``prepare_ms`` to decode, find the faces, crop and resize; ``classify_ms`` of
    the runtime.

    The latter is that of the calls in which the image's faces took part, and so of a whole batch.
    """

    prepare_ms: float
    classify_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageResult:
    """The faces of one image, the largest first; none is a result too. Width and height are of the upright image."""

    name: str
    width: int
    height: int
    faces: tuple[Prediction, ...]
    timing: Timing

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "name": self.name,
            "width": self.width,
            "height": self.height,
            "faces": [face.to_dict() for face in self.faces],
            "timing": asdict(self.timing),
        }

"""Where a face is in an image."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from motivnet.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle in pixels of the upright image: the top left corner and the size.

    It may reach beyond the edge of the image.

    Raises:
        InputError: If a number is not finite, or the width or the height is not positive.
    """

    x: float
    y: float
    width: float
    height: float

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) for value in (self.x, self.y, self.width, self.height)):
            raise InputError(f"a box has finite coordinates, not {self.to_dict()}")
        if self.width <= 0 or self.height <= 0:
            raise InputError(
                f"a box has a positive width and height, not {self.width} x {self.height}"
            )

    @property
    def area(self) -> float:
        """Square pixels."""
        return self.width * self.height

    def iou(self, other: Box) -> float:
        """The intersection over the union of two boxes, between 0 and 1."""
        width = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        height = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        shared = max(width, 0.0) * max(height, 0.0)
        return shared / (self.area + other.area - shared)

    def to_dict(self) -> dict[str, float]:
        """Plain JSON values."""
        return asdict(self)

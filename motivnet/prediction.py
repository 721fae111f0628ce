"""The emotion of a face and where the face is: from a model's outputs to what a person reads."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from motivnet.errors import InputError

UNKNOWN = "unknown"
"""The label of an image that is too far from the calibration images, if that is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle in pixels of the rotated image: top left corner and size.

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
        """Return the intersection over the union of two boxes, between 0 and 1."""
        width = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        height = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        shared = max(width, 0.0) * max(height, 0.0)
        return shared / (self.area + other.area - shared)

    def to_dict(self) -> dict[str, float]:
        """Return plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The emotion of one face.

    Attributes:
        label: The most likely emotion, or ``unknown``.
        confidence: The probability of the most likely emotion, also if ``label`` is ``unknown``.
        probabilities: All probabilities by label, in output order.
        energy: ``-log(sum(exp(logits)))``, lower for images like the training images (Liu et al.
            2020, arXiv 2010.03759).
        distance: Mahalanobis distance of the embedding from the nearest class (Lee et al. 2018,
            arXiv 1807.03888); None without a calibration.
        known: Whether the distance is within the calibration's threshold; None without one.
        box: Where the face is; None if the image was given as the face itself.
        score: The face detector's score, between 0 and 1.
        answered_by: Which model of a cascade the prediction is from; None without a cascade.
        embedding: The pooled features ``(width,)`` before the last layer. They are left out of
            ``to_dict`` and of ``==``.
    """

    label: str
    confidence: float
    probabilities: dict[str, float]
    energy: float
    distance: float | None = None
    known: bool | None = None
    box: Box | None = None
    score: float | None = None
    answered_by: Literal["student", "full"] | None = None
    embedding: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        plain = asdict(self)
        del plain["embedding"]
        return plain


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return probabilities ``(…, classes)`` of logits ``(…, classes)``, in double precision."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True), np.float64)


def energies(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return energies ``(…,)`` of logits ``(…, classes)`` (arXiv 2010.03759, equation 4)."""
    double = logits.astype(np.float64)
    largest = double.max(axis=-1)
    total = np.exp(double - largest[..., None]).sum(axis=-1)
    return np.asarray(-largest - np.log(total), np.float64)


def named_probabilities(
    probabilities: NDArray[np.float64], labels: tuple[str, ...]
) -> dict[str, float]:
    """Return probabilities ``(classes,)`` by label, in output order."""
    return {label: float(value) for label, value in zip(labels, probabilities, strict=True)}

"""From what a model gives to what a person reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motivnet.box import Box

UNKNOWN = "unknown"
"""The label of an image that is too far from those the model was calibrated on, where that is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The emotion of one face.

    Args:
        label: The likeliest one, or ``unknown``.
        confidence: The probability of the likeliest one, whatever ``label`` says.
        probabilities: All of them, in output order.
        energy: ``-log(sum(exp(logits)))``, lower for what is like the training images (Liu et al.
            2020, arXiv 2010.03759).
        distance: The Mahalanobis distance of the embedding from the nearest class (Lee et al. 2018,
            arXiv 1807.03888); None without a calibration.
        known: Whether the distance is within the threshold of the calibration; None without one.
        box: Where the face is; None where the image was given as the face itself.
        score: The face detector's, between 0 and 1.
        embedding: The pooled features ``(width,)`` before the last layer; not part of ``to_dict``
        and of ``==``.
    """

    label: str
    confidence: float
    probabilities: dict[str, float]
    energy: float
    distance: float | None = None
    known: bool | None = None
    box: Box | None = None
    score: float | None = None
    embedding: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "label": self.label,
            "confidence": self.confidence,
            "probabilities": dict(self.probabilities),
            "energy": self.energy,
            "distance": self.distance,
            "known": self.known,
            "box": None if self.box is None else self.box.to_dict(),
            "score": self.score,
        }


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities ``(…, classes)`` of logits ``(…, classes)``, in double precision."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True), np.float64)


def energies(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Energies ``(…,)`` of logits ``(…, classes)``: ``-log(sum(exp(logits)))`` (arXiv 2010.03759, eq. 4)."""
    double = logits.astype(np.float64)
    largest = double.max(axis=-1)
    return np.asarray(
        -largest - np.log(np.exp(double - largest[..., None]).sum(axis=-1)), np.float64
    )


def named_probabilities(
    probabilities: NDArray[np.float64], labels: tuple[str, ...]
) -> dict[str, float]:
    """Probabilities ``(classes,)`` by label, in output order."""
    return {label: float(value) for label, value in zip(labels, probabilities, strict=True)}

"""From logits to what a person reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The emotion of one image: the likeliest label, its probability, and all of them in output order."""

    label: str
    confidence: float
    probabilities: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"label": self.label, "confidence": self.confidence, "probabilities": dict(self.probabilities)}


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities ``(…, classes)`` of logits ``(…, classes)``, in double precision."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True), np.float64)


def predictions_from_logits(logits: NDArray[np.float32], labels: tuple[str, ...]) -> list[Prediction]:
    """One prediction per row of logits ``(B, classes)``."""
    return [_prediction(row, labels) for row in softmax(logits)]


def _prediction(probabilities: NDArray[np.float64], labels: tuple[str, ...]) -> Prediction:
    best = int(probabilities.argmax())
    named = {label: float(value) for label, value in zip(labels, probabilities, strict=True)}
    return Prediction(label=labels[best], confidence=float(probabilities[best]), probabilities=named)

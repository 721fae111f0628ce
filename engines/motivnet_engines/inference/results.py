"""Predictions from the outputs of a runtime, and the result of one image."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from motivnet.prediction import UNKNOWN, Prediction, energies, named_probabilities
from motivnet.runtime import Arrays
from motivnet_engines.inference.calibration import Calibration
from motivnet_engines.inference.heads import Head


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Milliseconds spent on an image.

    ``prepare_ms`` covers decoding, face detection, cropping and resizing. ``classify_ms`` is the
    duration of the runtime's calls that included the image's faces, and so of a whole batch.
    """

    prepare_ms: float
    classify_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageResult:
    """The faces of one image, the largest first; an image without faces is a result too.

    ``width`` and ``height`` are those of the rotated image.
    """

    name: str
    width: int
    height: int
    faces: tuple[Prediction, ...]
    timing: Timing

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "name": self.name,
            "width": self.width,
            "height": self.height,
            "faces": [face.to_dict() for face in self.faces],
            "timing": asdict(self.timing),
        }


def predictions_from_outputs(
    outputs: Arrays, *, head: Head, calibration: Calibration | None, unknown: bool
) -> list[Prediction]:
    """Return one prediction per row of finite logits ``(B, classes)`` and optional embeddings.

    Args:
        unknown: Whether a face beyond the calibration's threshold is labelled ``unknown``.
    """
    logits = outputs["logits"]
    embedding = outputs.get("embedding", np.empty((len(logits), 0), np.float32))
    probabilities = head.probabilities(logits, embedding)
    predictions = []
    for row, energy, vector in zip(probabilities, energies(logits), embedding, strict=True):
        best = int(row.argmax())
        predictions.append(
            Prediction(
                label=head.labels[best],
                confidence=float(row[best]),
                probabilities=named_probabilities(row, head.labels),
                energy=float(energy),
                embedding=vector.copy() if vector.size else None,
            )
        )
    if calibration is None:
        return predictions
    distances = calibration.statistics.distances(embedding)
    measured = []
    for prediction, distance in zip(predictions, distances, strict=True):
        known = bool(distance <= calibration.metadata.distance_threshold)
        label = UNKNOWN if unknown and not known else prediction.label
        measured.append(replace(prediction, label=label, distance=float(distance), known=known))
    return measured

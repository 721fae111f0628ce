"""From what a runtime gives for a batch of faces to a prediction for each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from motivnet.prediction import UNKNOWN, Prediction, energies, named_probabilities
from motivnet.runtime import Arrays
from motivnet_engines.inference.calibration import Calibration
from motivnet_engines.inference.heads import Readout


def predictions_from_outputs(
    outputs: Arrays, *, readout: Readout, calibration: Calibration | None, unknown: bool
) -> list[Prediction]:
    """One prediction per row of finite logits ``(B, classes)`` and, where there are any, embeddings
    ``(B, width)``.

    Args:
        unknown: Whether what is beyond the calibration's threshold is labelled ``unknown``.
    """
    logits = outputs["logits"]
    embedding = outputs.get("embedding", np.empty((len(logits), 0), np.float32))
    probabilities = readout.probabilities(logits, embedding)
    predictions = [
        _prediction(
            row,
            labels=readout.labels,
            energy=float(energy),
            embedding=vector.copy() if vector.size else None,
        )
        for row, energy, vector in zip(probabilities, energies(logits), embedding, strict=True)
    ]
    if calibration is None:
        return predictions
    distances = calibration.distances(embedding)
    return [
        _judged(
            prediction,
            distance=float(distance),
            threshold=calibration.distance_threshold,
            unknown=unknown,
        )
        for prediction, distance in zip(predictions, distances, strict=True)
    ]


def _prediction(
    probabilities: NDArray[np.float64],
    *,
    labels: tuple[str, ...],
    energy: float,
    embedding: NDArray[np.float32] | None,
) -> Prediction:
    best = int(probabilities.argmax())
    return Prediction(
        label=labels[best],
        confidence=float(probabilities[best]),
        probabilities=named_probabilities(probabilities, labels),
        energy=energy,
        embedding=embedding,
    )


def _judged(
    prediction: Prediction, *, distance: float, threshold: float, unknown: bool
) -> Prediction:
    known = distance <= threshold
    label = UNKNOWN if unknown and not known else prediction.label
    return replace(prediction, label=label, distance=distance, known=known)

"""Predictions and records to write and draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from motivnet.labels import labels_for
from motivnet.prediction import Box, Prediction

LABELS = labels_for(7)


@pytest.fixture
def face() -> Callable[..., Prediction]:
    """A function that gives a prediction, in a box (x, y, width, height) or without one."""

    def made(
        label: str = "happiness",
        *,
        confidence: float = 0.75,
        box: tuple[float, ...] | None = None,
        **changes: Any,
    ) -> Prediction:
        rest = (1 - confidence) / (len(LABELS) - 1)
        best = label if label in LABELS else LABELS[0]
        return Prediction(
            label=label,
            confidence=confidence,
            probabilities={name: confidence if name == best else rest for name in LABELS},
            energy=-1.5,
            box=None if box is None else Box(x=box[0], y=box[1], width=box[2], height=box[3]),
            score=None if box is None else 0.9,
            **changes,
        )

    return made

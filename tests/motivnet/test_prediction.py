"""Boxes and predictions on numbers known by hand."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from motivnet.errors import InputError
from motivnet.labels import EMOTIONS
from motivnet.prediction import Box, Prediction, energies, named_probabilities, softmax


def box(x: float, y: float, width: float, height: float) -> Box:
    return Box(x=x, y=y, width=width, height=height)


@pytest.mark.parametrize(
    ("other", "iou"),
    [
        (box(0, 0, 10, 10), 1.0),
        (box(5, 0, 10, 10), 1 / 3),
        (box(0, 5, 10, 10), 1 / 3),
        (box(10, 0, 10, 10), 0.0),
        (box(20, 20, 1, 1), 0.0),
        (box(2, 2, 5, 5), 0.25),
        (box(-10, -10, 30, 30), 1 / 9),
    ],
)
def test_the_overlap_of_two_boxes(other: Box, iou: float) -> None:
    mine = box(0, 0, 10, 10)
    assert mine.iou(other) == other.iou(mine) == pytest.approx(iou)


@pytest.mark.parametrize(
    "numbers", [(0, 0, 0, 1), (0, 0, 1, -1), (math.nan, 0, 1, 1), (0, math.inf, 1, 1)]
)
def test_a_box_that_is_none_is_refused(numbers: tuple[float, float, float, float]) -> None:
    with pytest.raises(InputError, match="a box has"):
        box(*numbers)


def test_a_box_as_json() -> None:
    assert box(1.5, 2, 3, 4).to_dict() == {"x": 1.5, "y": 2, "width": 3, "height": 4}


def test_probabilities_are_those_of_the_definition() -> None:
    logits = np.array([[0.0, 1.0, -2.0]], np.float32)
    total = 1 + math.e + math.exp(-2)
    assert softmax(logits)[0] == pytest.approx(
        [1 / total, math.e / total, math.exp(-2) / total], rel=1e-12
    )


def test_probabilities_sum_to_one_whatever_the_shape() -> None:
    logits = np.random.default_rng(1).normal(0, 50, (4, 3, 8)).astype(np.float32)
    assert softmax(logits).sum(-1) == pytest.approx(np.ones((4, 3)), abs=1e-12)
    assert (softmax(logits).argmax(-1) == logits.argmax(-1)).all()


def test_large_logits_neither_overflow_nor_vanish() -> None:
    assert softmax(np.array([3e38, 0.0], np.float32)).tolist() == [1.0, 0.0]
    assert softmax(np.array([-3e38, -3e38], np.float32)).tolist() == [0.5, 0.5]


def test_the_energy_is_that_of_the_definition() -> None:
    logits = np.array([[0.0, 1.0, -2.0], [5.0, 5.0, 5.0]], np.float32)
    wanted = [-math.log(1 + math.e + math.exp(-2)), -5 - math.log(3)]
    assert energies(logits).tolist() == pytest.approx(wanted, rel=1e-12)


def test_the_energy_of_large_logits_is_finite() -> None:
    assert energies(np.array([3e38, 0.0], np.float32)) == pytest.approx(-3e38, rel=1e-6)


def test_probabilities_are_named_in_output_order() -> None:
    named = named_probabilities(np.array([0.25, 0.75]), ("neutral", "anger"))
    assert list(named.items()) == [("neutral", 0.25), ("anger", 0.75)]


def test_labels_that_do_not_fit_the_probabilities_are_never_paired() -> None:
    with pytest.raises(ValueError, match="zip"):
        named_probabilities(np.array([0.25, 0.75]), EMOTIONS)


def prediction(**changes: Any) -> Prediction:
    return Prediction(
        **{
            "label": "fear",
            "confidence": 1.0,
            "probabilities": {"fear": 1.0},
            "energy": -3.0,
            **changes,
        }
    )


def test_a_prediction_becomes_plain_json_without_its_embedding() -> None:
    made = prediction(
        box=Box(x=1, y=2, width=3, height=4), score=0.5, embedding=np.ones(3, np.float32)
    )
    assert json.loads(json.dumps(made.to_dict())) == {
        "label": "fear",
        "confidence": 1.0,
        "probabilities": {"fear": 1.0},
        "energy": -3.0,
        "distance": None,
        "known": None,
        "box": {"x": 1, "y": 2, "width": 3, "height": 4},
        "score": 0.5,
        "answered_by": None,
    }


def test_predictions_are_compared_without_their_embeddings() -> None:
    assert prediction(embedding=np.ones(3, np.float32)) == prediction()
    assert prediction(energy=-2.0) != prediction()

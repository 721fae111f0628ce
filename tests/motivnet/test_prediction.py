"""From logits to predictions."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from motivnet.labels import EMOTIONS
from motivnet.prediction import predictions_from_logits, softmax


def test_probabilities_are_those_of_the_definition() -> None:
    logits = np.array([[0.0, 1.0, -2.0]], np.float32)
    total = 1 + math.e + math.exp(-2)
    assert softmax(logits)[0] == pytest.approx([1 / total, math.e / total, math.exp(-2) / total], rel=1e-12)


def test_probabilities_sum_to_one_whatever_the_shape() -> None:
    logits = np.random.default_rng(1).normal(0, 50, (4, 3, 8)).astype(np.float32)
    assert softmax(logits).sum(-1) == pytest.approx(np.ones((4, 3)), abs=1e-12)
    assert (softmax(logits).argmax(-1) == logits.argmax(-1)).all()


def test_large_logits_neither_overflow_nor_vanish() -> None:
    assert softmax(np.array([3e38, 0.0], np.float32)).tolist() == [1.0, 0.0]
    assert softmax(np.array([-3e38, -3e38], np.float32)).tolist() == [0.5, 0.5]


def test_each_row_becomes_one_prediction_with_the_likeliest_label() -> None:
    logits = np.full((2, 7), -4.0, np.float32)
    logits[0, 1], logits[1, 6] = 4.0, 0.0
    happy, angry = predictions_from_logits(logits, EMOTIONS[:7])
    assert (happy.label, angry.label) == ("happiness", "anger")
    assert happy.confidence == happy.probabilities["happiness"] > 0.99
    assert tuple(angry.probabilities) == EMOTIONS[:7]


def test_no_image_gives_no_prediction() -> None:
    assert predictions_from_logits(np.zeros((0, 7), np.float32), EMOTIONS[:7]) == []


def test_labels_that_do_not_fit_the_logits_are_never_paired() -> None:
    with pytest.raises(ValueError, match="zip"):
        predictions_from_logits(np.zeros((1, 7), np.float32), EMOTIONS)


def test_a_prediction_becomes_plain_json() -> None:
    (prediction,) = predictions_from_logits(np.zeros((1, 8), np.float32), EMOTIONS)
    assert json.loads(json.dumps(prediction.to_dict())) == {
        "label": "neutral",
        "confidence": 0.125,
        "probabilities": dict.fromkeys(EMOTIONS, 0.125),
    }

"""Accuracy by class and forgetting, by their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from motivnet_engines.adaptation.evaluation import Evaluation, evaluate, forgetting, track_best
from motivnet_engines.calibration.labelled_outputs import LabelledOutputs

OUTPUTS = LabelledOutputs(
    labels=("calm", "cheer", "doubt"),
    classes=np.array([0, 0, 1, 1, 2]),
    logits=np.zeros((5, 1)),
    embedding=np.zeros((5, 1), np.float32),
)


def test_images_of_known_classes_are_evaluated_by_their_highest_score() -> None:
    scores = np.array([[0, 1], [1, 0], [1, 0], [1, 0], [0, 1]])
    found = evaluate(OUTPUTS, scores, ("cheer", "calm"))
    assert found.by_class() == {"calm": 0.5, "cheer": 1.0}
    assert found.accuracy(["calm", "cheer", "doubt"]) == 0.75
    assert found.accuracy(["doubt"]) is None


def test_nothing_evaluated_has_no_accuracy() -> None:
    assert Evaluation(right={}).accuracy(["calm"]) is None


def test_forgetting_is_the_best_earlier_accuracy_minus_that_of_now_over_the_classes() -> None:
    assert forgetting(
        {"calm": 1.0, "cheer": 0.8}, {"calm": 0.9, "cheer": 0.9, "doubt": 0.1}
    ) == pytest.approx(0.0)
    assert forgetting(
        {"calm": 1.0, "cheer": 0.8, "gone": 1.0}, {"calm": 0.5, "cheer": 0.8}
    ) == pytest.approx(0.25)
    assert forgetting({}, {"calm": 0.5}) is None


def test_the_best_of_all_runs_is_kept_and_forgetting_counts_from_it() -> None:
    def right(**accuracies: float) -> Evaluation:
        return Evaluation(
            right={name: np.arange(4) < 4 * value for name, value in accuracies.items()}
        )

    before, after = right(calm=0.5, cheer=1.0), right(calm=0.75, cheer=0.5, doubt=0.25)
    best, lost = track_best({"calm": 1.0, "cheer": 0.75, "grief": 0.5}, before, after)
    assert best == {"calm": 1.0, "cheer": 1.0, "grief": 0.5, "doubt": 0.25}
    assert lost == pytest.approx((0.25 + 0.5) / 2)

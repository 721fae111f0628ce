from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.metrics import f1_score as sklearn_f1

from motivnet_bench.metrics import classification_figures

LABELS = ("neutral", "happiness", "sadness")


def drawn(count: int = 60, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    truth = random.integers(0, classes, count)
    probabilities = random.dirichlet(np.ones(3), count)
    probabilities[np.arange(count), truth] += 0.3
    return truth, probabilities / probabilities.sum(axis=1, keepdims=True)


def test_figures_equal_those_computed_by_hand():
    truth, probabilities = drawn()
    figures = classification_figures(truth, probabilities, LABELS)
    predicted = probabilities.argmax(axis=1)
    matrix = np.zeros((3, 3), int)
    np.add.at(matrix, (truth, predicted), 1)
    recall, precision = matrix.diagonal() / matrix.sum(axis=1), matrix.diagonal() / matrix.sum(axis=0)
    assert figures.confusion == tuple(map(tuple, matrix.tolist()))
    assert figures.accuracy == pytest.approx((truth == predicted).mean())
    assert list(figures.recall.values()) == pytest.approx(recall.tolist())
    assert figures.balanced_accuracy == pytest.approx(recall.mean())
    assert figures.macro_f1 == pytest.approx((2 * precision * recall / (precision + recall)).mean())
    assert figures.auroc == pytest.approx(np.mean([pairwise_auroc(truth == k, probabilities[:, k]) for k in range(3)]))


def pairwise_auroc(positive: np.ndarray, score: np.ndarray) -> float:
    """The probability that a positive scores above a negative, over all pairs."""
    return float((score[positive][:, None] > score[~positive][None, :]).mean())


def test_figures_equal_scikit_learns_where_no_class_is_absent():
    truth, probabilities = drawn()
    figures = classification_figures(truth, probabilities, LABELS)
    predicted = probabilities.argmax(axis=1)
    assert figures.auroc == pytest.approx(roc_auc_score(truth, probabilities, multi_class="ovr", average="macro"))
    assert figures.macro_f1 == pytest.approx(sklearn_f1(truth, predicted, average="macro"))
    assert figures.balanced_accuracy == pytest.approx(balanced_accuracy_score(truth, predicted))


def test_a_class_that_is_absent_is_named_and_left_out_of_the_means():
    truth, probabilities = drawn(classes=2)
    figures = classification_figures(truth, probabilities, LABELS)
    assert figures.absent == ("sadness",)
    assert figures.recall["sadness"] is None
    present = [figures.recall["neutral"], figures.recall["happiness"]]
    assert figures.balanced_accuracy == pytest.approx(np.mean(present))
    assert figures.auroc == pytest.approx(np.mean([pairwise_auroc(truth == k, probabilities[:, k]) for k in (0, 1)]))


def test_a_single_class_has_no_auroc():
    figures = classification_figures(np.zeros(3, np.int64), np.eye(3), LABELS)
    assert figures.auroc is None
    assert figures.accuracy == pytest.approx(1 / 3)


def test_a_perfect_classifier_has_ones():
    truth = np.array([0, 1, 2, 0])
    figures = classification_figures(truth, np.eye(3)[truth], LABELS)
    assert (figures.accuracy, figures.macro_f1, figures.auroc, figures.balanced_accuracy) == (1, 1, 1, 1)

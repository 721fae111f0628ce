from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics
from torchmetrics.functional import classification as torch_metrics

from motivnet.metrics import classification_figures, cross_entropy

LABELS = ("neutral", "happiness", "sadness", "surprise")
SEEDS = range(4)


def drawn(
    seed: int, *, classes: tuple[int, ...] = (0, 1, 2, 3), count: int = 80
) -> tuple[np.ndarray, np.ndarray]:
    """Uneven classes, and probabilities that know something of them."""
    random = np.random.default_rng(seed)
    truth = random.choice(classes, count, p=random.dirichlet(np.full(len(classes), 5.0)))
    probabilities = random.dirichlet(np.ones(len(LABELS)), count)
    probabilities[np.arange(count), truth] += 0.2
    return truth, probabilities / probabilities.sum(axis=1, keepdims=True)


def pairwise_auroc(positive: np.ndarray, score: np.ndarray) -> float:
    """The probability that a positive scores above a negative, over all pairs."""
    return float((score[positive][:, None] > score[~positive][None, :]).mean())


@pytest.mark.parametrize("seed", SEEDS)
def test_figures_equal_those_computed_by_hand(seed):
    truth, probabilities = drawn(seed)
    figures = classification_figures(truth, probabilities, LABELS)
    predicted = probabilities.argmax(axis=1)
    matrix = np.zeros((4, 4), int)
    np.add.at(matrix, (truth, predicted), 1)
    recall, precision = (
        matrix.diagonal() / matrix.sum(axis=1),
        matrix.diagonal() / matrix.sum(axis=0),
    )
    assert figures.images == len(truth)
    assert figures.confusion == tuple(map(tuple, matrix.tolist()))
    assert figures.accuracy == pytest.approx((truth == predicted).mean())
    assert list(figures.recall.values()) == pytest.approx(recall.tolist())
    assert figures.uar == pytest.approx(recall.mean())
    assert figures.macro_precision == pytest.approx(precision.mean())
    assert figures.macro_f1 == pytest.approx((2 * precision * recall / (precision + recall)).mean())
    assert figures.auroc == pytest.approx(
        np.mean([pairwise_auroc(truth == k, probabilities[:, k]) for k in range(4)])
    )
    assert figures.loss == pytest.approx(
        -np.log(probabilities[np.arange(len(truth)), truth]).mean()
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_figures_equal_scikit_learns(seed):
    truth, probabilities = drawn(seed)
    figures = classification_figures(truth, probabilities, LABELS)
    predicted = probabilities.argmax(axis=1)
    assert figures.accuracy == pytest.approx(
        metrics.recall_score(truth, predicted, average="weighted")
    )
    assert figures.uar == pytest.approx(metrics.balanced_accuracy_score(truth, predicted))
    assert figures.macro_precision == pytest.approx(
        metrics.precision_score(truth, predicted, average="macro")
    )
    assert figures.macro_f1 == pytest.approx(metrics.f1_score(truth, predicted, average="macro"))
    assert figures.auroc == pytest.approx(
        metrics.roc_auc_score(truth, probabilities, multi_class="ovr")
    )
    assert figures.loss == pytest.approx(metrics.log_loss(truth, probabilities))


@pytest.mark.parametrize("seed", SEEDS)
def test_figures_equal_torchmetrics(seed):
    truth, probabilities = drawn(seed)
    figures = classification_figures(truth, probabilities, LABELS)
    given, target = torch.from_numpy(probabilities), torch.from_numpy(truth)
    for value, function, average in (
        (figures.accuracy, torch_metrics.multiclass_accuracy, "micro"),
        (figures.uar, torch_metrics.multiclass_recall, "macro"),
        (figures.macro_precision, torch_metrics.multiclass_precision, "macro"),
        (figures.macro_f1, torch_metrics.multiclass_f1_score, "macro"),
        (figures.auroc, torch_metrics.multiclass_auroc, "macro"),
    ):
        assert value == pytest.approx(float(function(given, target, 4, average=average)), abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_means_leave_an_absent_class_out_even_where_it_is_predicted(seed):
    truth, probabilities = drawn(seed, classes=(0, 1, 3))
    figures = classification_figures(truth, probabilities, LABELS)
    given, target = torch.from_numpy(probabilities), torch.from_numpy(truth)
    assert (probabilities.argmax(axis=1) == 2).any()
    assert figures.absent == ("sadness",)
    assert figures.recall["sadness"] is None
    for value, function in (
        (figures.uar, torch_metrics.multiclass_recall),
        (figures.macro_precision, torch_metrics.multiclass_precision),
        (figures.macro_f1, torch_metrics.multiclass_f1_score),
    ):
        by_class = function(given, target, 4, average=None)
        assert value == pytest.approx(float(by_class[[0, 1, 3]].mean()), abs=1e-6)
    pairs = [pairwise_auroc(truth == k, probabilities[:, k]) for k in (0, 1, 3)]
    assert figures.auroc == pytest.approx(np.mean(pairs))


def test_a_single_class_has_no_auroc():
    figures = classification_figures(np.zeros(4, np.int64), np.eye(4), LABELS)
    assert figures.auroc is None
    assert (figures.accuracy, figures.uar) == pytest.approx((1 / 4, 1 / 4))
    assert figures.macro_precision == 1
    assert figures.absent == LABELS[1:]


def test_a_class_that_is_never_predicted_has_a_precision_of_0():
    figures = classification_figures(np.array([0, 1]), np.eye(4)[[0, 0]], LABELS)
    assert figures.macro_precision == pytest.approx((1 / 2 + 0) / 2)


def test_a_perfect_classifier_has_ones_and_no_loss():
    truth = np.array([0, 1, 2, 3, 0])
    figures = classification_figures(truth, np.eye(4)[truth], LABELS)
    assert {
        figures.accuracy,
        figures.uar,
        figures.macro_precision,
        figures.macro_f1,
        figures.auroc,
    } == {1.0}
    assert figures.loss == 0


def test_a_certain_mistake_costs_much_and_not_infinitely():
    loss = classification_figures(np.array([1]), np.eye(4)[[0]], LABELS).loss
    assert 700 < loss < 710


@pytest.mark.parametrize("seed", SEEDS)
def test_cross_entropy_of_soft_labels_equals_torchs(seed):
    random = np.random.default_rng(seed)
    logits, votes = random.normal(size=(20, 4)), random.dirichlet(np.ones(4), 20)
    wanted = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(votes))
    assert cross_entropy(
        votes, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    ) == pytest.approx(wanted)


def test_a_loss_that_is_given_is_kept():
    truth, probabilities = drawn(0)
    assert classification_figures(truth, probabilities, LABELS, loss=1.25).loss == 1.25

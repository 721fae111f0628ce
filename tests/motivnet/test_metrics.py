from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sklearn import metrics
from torchmetrics.functional import classification as torch_metrics

from motivnet.datasets.read import FORMATS
from motivnet.labels import EMOTIONS
from motivnet.metrics import (
    ClassificationMetrics,
    compute_metrics,
    cross_entropy,
    published_results,
)

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
    found = compute_metrics(truth, probabilities, LABELS)
    predicted = probabilities.argmax(axis=1)
    matrix = np.zeros((4, 4), int)
    np.add.at(matrix, (truth, predicted), 1)
    recall, precision = (
        matrix.diagonal() / matrix.sum(axis=1),
        matrix.diagonal() / matrix.sum(axis=0),
    )
    assert found.images == len(truth)
    assert found.confusion == tuple(map(tuple, matrix.tolist()))
    assert found.accuracy == pytest.approx((truth == predicted).mean())
    assert list(found.recall.values()) == pytest.approx(recall.tolist())
    assert found.uar == pytest.approx(recall.mean())
    assert found.macro_precision == pytest.approx(precision.mean())
    assert found.macro_f1 == pytest.approx((2 * precision * recall / (precision + recall)).mean())
    assert found.auroc == pytest.approx(
        np.mean([pairwise_auroc(truth == k, probabilities[:, k]) for k in range(4)])
    )
    assert found.loss == pytest.approx(-np.log(probabilities[np.arange(len(truth)), truth]).mean())


@pytest.mark.parametrize("seed", SEEDS)
def test_figures_equal_scikit_learns(seed):
    truth, probabilities = drawn(seed)
    found = compute_metrics(truth, probabilities, LABELS)
    predicted = probabilities.argmax(axis=1)
    assert found.accuracy == pytest.approx(
        metrics.recall_score(truth, predicted, average="weighted")
    )
    assert found.uar == pytest.approx(metrics.balanced_accuracy_score(truth, predicted))
    assert found.macro_precision == pytest.approx(
        metrics.precision_score(truth, predicted, average="macro")
    )
    assert found.macro_f1 == pytest.approx(metrics.f1_score(truth, predicted, average="macro"))
    assert found.auroc == pytest.approx(
        metrics.roc_auc_score(truth, probabilities, multi_class="ovr")
    )
    assert found.loss == pytest.approx(metrics.log_loss(truth, probabilities))


@pytest.mark.parametrize("seed", SEEDS)
def test_figures_equal_torchmetrics(seed):
    truth, probabilities = drawn(seed)
    found = compute_metrics(truth, probabilities, LABELS)
    given, target = torch.from_numpy(probabilities), torch.from_numpy(truth)
    for value, function, average in (
        (found.accuracy, torch_metrics.multiclass_accuracy, "micro"),
        (found.uar, torch_metrics.multiclass_recall, "macro"),
        (found.macro_precision, torch_metrics.multiclass_precision, "macro"),
        (found.macro_f1, torch_metrics.multiclass_f1_score, "macro"),
        (found.auroc, torch_metrics.multiclass_auroc, "macro"),
    ):
        assert value == pytest.approx(float(function(given, target, 4, average=average)), abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_means_leave_an_absent_class_out_even_where_it_is_predicted(seed):
    truth, probabilities = drawn(seed, classes=(0, 1, 3))
    found = compute_metrics(truth, probabilities, LABELS)
    given, target = torch.from_numpy(probabilities), torch.from_numpy(truth)
    assert (probabilities.argmax(axis=1) == 2).any()
    assert found.absent == ("sadness",)
    assert found.recall["sadness"] is None
    for value, function in (
        (found.uar, torch_metrics.multiclass_recall),
        (found.macro_precision, torch_metrics.multiclass_precision),
        (found.macro_f1, torch_metrics.multiclass_f1_score),
    ):
        by_class = function(given, target, 4, average=None)
        assert value == pytest.approx(float(by_class[[0, 1, 3]].mean()), abs=1e-6)
    pairs = [pairwise_auroc(truth == k, probabilities[:, k]) for k in (0, 1, 3)]
    assert found.auroc == pytest.approx(np.mean(pairs))


def test_a_single_class_has_no_auroc():
    found = compute_metrics(np.zeros(4, np.int64), np.eye(4), LABELS)
    assert found.auroc is None
    assert (found.accuracy, found.uar) == pytest.approx((1 / 4, 1 / 4))
    assert found.macro_precision == 1
    assert found.absent == LABELS[1:]


def test_a_class_that_is_never_predicted_has_a_precision_of_0():
    found = compute_metrics(np.array([0, 1]), np.eye(4)[[0, 0]], LABELS)
    assert found.macro_precision == pytest.approx((1 / 2 + 0) / 2)


def test_a_perfect_classifier_has_ones_and_no_loss():
    truth = np.array([0, 1, 2, 3, 0])
    found = compute_metrics(truth, np.eye(4)[truth], LABELS)
    assert {
        found.accuracy,
        found.uar,
        found.macro_precision,
        found.macro_f1,
        found.auroc,
    } == {1.0}
    assert found.loss == 0


def test_a_certain_mistake_costs_much_and_not_infinitely():
    loss = compute_metrics(np.array([1]), np.eye(4)[[0]], LABELS).loss
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
    assert compute_metrics(truth, probabilities, LABELS, loss=1.25).loss == 1.25


def test_the_table_is_that_of_the_two_versions():
    found = [(result.title, result.metrics) for result in published_results()]
    first = {
        "accuracy": 0.5749,
        "uar": 0.5749,
        "macro_precision": 0.5799,
        "macro_f1": 0.5741,
        "auroc": 0.9039,
    }
    assert found == [
        ("AffectNet, first version", first),
        ("AffectNet, second version", {"accuracy": 0.6252}),
        ("FER2013, second version", {"accuracy": 0.5387}),
        ("CK+, second version", {"accuracy": 0.80}),
    ]


def test_every_published_metric_is_one_of_ours():
    ours = {field.name for field in dataclasses.fields(ClassificationMetrics)}
    assert all(set(result.metrics) <= ours for result in published_results())


def test_only_the_formats_of_a_dataset_are_the_same_data():
    same = {
        name: {result.dataset for result in published_results(name) if result.same_data}
        for name in FORMATS
    }
    assert {name: datasets for name, datasets in same.items() if datasets} == {
        "AffectNet (CSV lists)": {"AffectNet"},
        "AffectNet (npy labels)": {"AffectNet"},
        "FER2013": {"FER2013"},
    }


@pytest.mark.parametrize(
    ("dataset_format", "splits", "labels", "same"),
    [
        ("AffectNet (CSV lists)", ("test",), EMOTIONS, {"AffectNet"}),
        ("AffectNet (CSV lists)", ("test",), EMOTIONS[::-1], {"AffectNet"}),
        ("AffectNet (CSV lists)", ("test",), EMOTIONS[:7], set()),  # without contempt
        (
            "AffectNet (npy labels)",
            (),
            EMOTIONS,
            set(),
        ),  # without its validation set, all else is to train on
        ("FER2013", ("val", "test"), EMOTIONS[:7], {"FER2013"}),
        ("FER2013", ("val", "test"), EMOTIONS, {"FER2013"}),  # has no contempt to be dropped
        ("FER2013", ("test",), EMOTIONS[:7], set()),  # PrivateTest alone
        ("FER2013", ("val", "test"), ("happiness", "anger"), set()),
        ("CK+", (), EMOTIONS, set()),
        (None, ("test",), EMOTIONS, set()),
    ],
)
def test_only_the_papers_split_of_a_dataset_with_all_its_classes_is_the_same_data(
    dataset_format, splits, labels, same
):
    found = published_results(dataset_format, splits=splits, labels=labels)
    assert {result.dataset for result in found if result.same_data} == same


def test_an_unknown_format_is_other_data():
    assert not any(result.same_data for result in published_results())

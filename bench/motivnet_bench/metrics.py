"""How right predictions are: the usual figures of classification, defined where a class is absent."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from motivnet.errors import MissingDependencyError
from motivnet_bench.accuracy_result import ClassificationFigures

try:
    from sklearn import metrics
except ImportError as error:
    raise MissingDependencyError("scikit-learn", extra="bench") from error

Indices = NDArray[np.int64]


def classification_figures(
    truth: Indices, probabilities: NDArray[np.float64], labels: tuple[str, ...]
) -> ClassificationFigures:
    """The figures of probabilities ``(N, classes)`` against true classes ``(N,)``, with N at least 1."""
    predicted = probabilities.argmax(axis=1)
    present = np.unique(truth)
    recalls = metrics.recall_score(truth, predicted, labels=present, average=None, zero_division=0)
    by_class = dict(zip(present.tolist(), recalls.tolist(), strict=True))
    return ClassificationFigures(
        images=len(truth),
        accuracy=float(metrics.accuracy_score(truth, predicted)),
        balanced_accuracy=float(recalls.mean()),
        macro_f1=float(metrics.f1_score(truth, predicted, labels=present, average="macro", zero_division=0)),
        auroc=_auroc(truth, probabilities, present),
        recall={label: by_class.get(index) for index, label in enumerate(labels)},
        confusion=_confusion(truth, predicted, len(labels)),
        absent=tuple(label for index, label in enumerate(labels) if index not in by_class),
    )


def _auroc(truth: Indices, probabilities: NDArray[np.float64], present: Indices) -> float | None:
    if len(present) < 2:
        return None
    return float(np.mean([metrics.roc_auc_score(truth == index, probabilities[:, index]) for index in present]))


def _confusion(truth: Indices, predicted: NDArray[Any], classes: int) -> tuple[tuple[int, ...], ...]:
    matrix = metrics.confusion_matrix(truth, predicted, labels=range(classes))
    return tuple(tuple(int(count) for count in row) for row in matrix)

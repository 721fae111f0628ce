"""How right predictions are: the usual figures of classification, defined where a class is absent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motivnet.errors import MissingDependencyError

try:
    from sklearn import metrics
except ImportError as error:
    raise MissingDependencyError("scikit-learn", extra="train") from error

Indices = NDArray[np.int64]
Probabilities = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationFigures:
    """Figures over ``images`` images, all but ``loss`` between 0 and 1.

    ``accuracy`` is the weighted average recall (WAR) too: weighted by the images of each class, the
    mean of the recalls is the share of images that are right. ``uar``, the unweighted average
    recall, is the macro recall and the balanced accuracy. ``loss`` is the mean cross-entropy in
    nats.

    Means over classes (``uar``, ``macro_precision``, ``macro_f1``, ``auroc``) take the classes that
    the data has; ``absent`` names the others, whose ``recall`` is None. A class that is never
    predicted has a precision of 0. ``auroc`` is one class against the rest, averaged over classes
    (Provost & Domingos 2000 without its weights), None where the data has one class only.
    ``confusion`` counts images by true class (rows) and predicted class (columns), both in label
    order.
    """

    images: int
    accuracy: float
    uar: float
    macro_precision: float
    macro_f1: float
    auroc: float | None
    loss: float
    recall: dict[str, float | None]
    confusion: tuple[tuple[int, ...], ...]
    absent: tuple[str, ...]


def classification_figures(
    truth: Indices,
    probabilities: Probabilities,
    labels: tuple[str, ...],
    *,
    loss: float | None = None,
) -> ClassificationFigures:
    """The figures of probabilities ``(N, classes)`` against true classes ``(N,)``, with N at least
    1.

    Args:
        loss: The mean cross-entropy where it is not that of ``truth``, as with soft labels; see
        ``cross_entropy``.
    """
    predicted = probabilities.argmax(axis=1)
    present = np.unique(truth)
    over_present: dict[str, Any] = {"labels": present, "zero_division": 0}
    recalls = metrics.recall_score(truth, predicted, average=None, **over_present)
    by_class = dict(zip(present.tolist(), recalls.tolist(), strict=True))
    return ClassificationFigures(
        images=len(truth),
        accuracy=float(metrics.accuracy_score(truth, predicted)),
        uar=float(recalls.mean()),
        macro_precision=float(
            metrics.precision_score(truth, predicted, average="macro", **over_present)
        ),
        macro_f1=float(metrics.f1_score(truth, predicted, average="macro", **over_present)),
        auroc=_auroc(truth, probabilities, present),
        loss=cross_entropy(np.eye(len(labels))[truth], probabilities) if loss is None else loss,
        recall={label: by_class.get(index) for index, label in enumerate(labels)},
        confusion=_confusion(truth, predicted, len(labels)),
        absent=tuple(label for index, label in enumerate(labels) if index not in by_class),
    )


def cross_entropy(distributions: Probabilities, probabilities: Probabilities) -> float:
    """The mean over N of the cross-entropy in nats between target distributions and probabilities
    ``(N, classes)``.

    A probability of 0 counts as the smallest positive number of double precision, so that the mean
    stays finite.
    """
    logarithms = np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))
    return float(-(distributions * logarithms).sum(axis=1).mean())


def _auroc(truth: Indices, probabilities: Probabilities, present: Indices) -> float | None:
    if len(present) < 2:
        return None
    return float(
        np.mean(
            [metrics.roc_auc_score(truth == index, probabilities[:, index]) for index in present]
        )
    )


def _confusion(
    truth: Indices, predicted: NDArray[Any], classes: int
) -> tuple[tuple[int, ...], ...]:
    matrix = metrics.confusion_matrix(truth, predicted, labels=range(classes))
    return tuple(tuple(int(count) for count in row) for row in matrix)

"""Classification metrics, defined where a class is absent, and those that the paper reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from motivnet.datasets.sample import Sample, SplitName, target_distributions
from motivnet.errors import MissingDependencyError
from motivnet.labels import EMOTIONS

try:
    from sklearn import metrics
except ImportError as error:
    raise MissingDependencyError("scikit-learn", extra="train") from error

Indices = NDArray[np.int64]
Probabilities = NDArray[np.float64]
Version = Literal["first", "second"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationMetrics:
    """Metrics over ``images`` images, all but ``loss`` between 0 and 1.

    ``accuracy`` is also the weighted average recall (WAR): weighted by the images of each class,
    the mean of the recalls is the share of images that are right. ``uar``, the unweighted average
    recall, is the macro recall and the balanced accuracy. ``loss`` is the mean cross-entropy in
    nats.

    Means over classes (``uar``, ``macro_precision``, ``macro_f1``, ``auroc``) are over the classes
    that the data has; ``absent`` names the others, whose ``recall`` is None. A class that is never
    predicted has a precision of 0. ``auroc`` is one class against the rest, averaged over classes
    (Provost & Domingos 2000 without its weights), None if the data has only one class.
    ``confusion`` counts images by true class (rows) and predicted class (columns), in label order.
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


def compute_metrics(
    truth: Indices,
    probabilities: Probabilities,
    labels: tuple[str, ...],
    *,
    loss: float | None = None,
) -> ClassificationMetrics:
    """Return the metrics of probabilities ``(N, classes)`` for true classes ``(N,)``, N >= 1.

    Args:
        loss: The mean cross-entropy if it is not that of ``truth``, as with soft labels; see
            ``cross_entropy``.
    """
    predicted = probabilities.argmax(axis=1)
    present = np.unique(truth)
    over_present: dict[str, Any] = {"labels": present, "zero_division": 0}
    recalls = metrics.recall_score(truth, predicted, average=None, **over_present)
    by_class = dict(zip(present.tolist(), recalls.tolist(), strict=True))
    confusion = metrics.confusion_matrix(truth, predicted, labels=range(len(labels)))
    return ClassificationMetrics(
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
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        absent=tuple(label for index, label in enumerate(labels) if index not in by_class),
    )


def compute_sample_metrics(
    samples: Sequence[Sample], probabilities: Probabilities, labels: tuple[str, ...]
) -> ClassificationMetrics:
    """Return the metrics of probabilities ``(N, classes)``; the loss is that of votes, if any."""
    truth = np.asarray([sample.label for sample in samples], np.int64)
    targets = target_distributions(samples, classes=len(labels)).astype(np.float64)
    return compute_metrics(truth, probabilities, labels, loss=cross_entropy(targets, probabilities))


def cross_entropy(distributions: Probabilities, probabilities: Probabilities) -> float:
    """Return the mean cross-entropy in nats of probabilities ``(N, classes)`` to distributions.

    A probability of 0 counts as the smallest positive number of double precision, so that the mean
    stays finite.
    """
    logarithms = np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))
    return float(-(distributions * logarithms).sum(axis=1).mean())


def _auroc(truth: Indices, probabilities: Probabilities, present: Indices) -> float | None:
    if len(present) < 2:
        return None
    scores = [metrics.roc_auc_score(truth == index, probabilities[:, index]) for index in present]
    return float(np.mean(scores))


class _TestSet(NamedTuple):
    """A test set of the paper: formats that hold the same images, the splits taken, and classes."""

    name: str
    formats: tuple[str, ...]
    splits: tuple[SplitName, ...]
    classes: tuple[str, ...]


_AFFECTNET = _TestSet(
    "AffectNet", ("AffectNet (CSV lists)", "AffectNet (npy labels)"), ("test",), EMOTIONS
)
# PublicTest and PrivateTest: 7,178 images.
_FER2013 = _TestSet("FER2013", ("FER2013",), ("val", "test"), EMOTIONS[:7])
# It is not known which frames of the sequences the paper takes.
_CK = _TestSet("CK+", (), (), EMOTIONS)

# The paper's recall is the macro recall (uar), its WAR the accuracy; the names are those of
# ClassificationMetrics.
_PUBLISHED: tuple[tuple[_TestSet, Version, dict[str, float]], ...] = (
    (
        _AFFECTNET,
        "first",
        {
            "accuracy": 0.5749,
            "uar": 0.5749,
            "macro_precision": 0.5799,
            "macro_f1": 0.5741,
            "auroc": 0.9039,
        },
    ),
    (_AFFECTNET, "second", {"accuracy": 0.6252}),
    (_FER2013, "second", {"accuracy": 0.5387}),
    (_CK, "second", {"accuracy": 0.80}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedResult:
    """What one version of the paper reports on one dataset.

    ``same_data`` says that our metrics are of the same split of that dataset, with all classes.
    """

    dataset: str
    version: Version
    same_data: bool
    metrics: dict[str, float]

    @property
    def title(self) -> str:
        """The dataset and the version in a few words."""
        return f"{self.dataset}, {self.version} version"


def published_results(
    dataset_format: str | None = None,
    *,
    splits: tuple[SplitName, ...] | None = None,
    labels: tuple[str, ...] | None = None,
) -> tuple[PublishedResult, ...]:
    """Return every published result, the first version first.

    Args:
        dataset_format: The format of our dataset; None if our metrics are not of a whole split.
        splits: Those that our metrics are of, empty for a dataset without splits; None for the
            paper's.
        labels: The model's; a dataset loses the classes that it lacks. None for all.
    """
    return tuple(
        PublishedResult(
            dataset=data.name,
            version=version,
            same_data=dataset_format in data.formats
            and (splits is None or set(splits) == set(data.splits))
            and (labels is None or set(data.classes) <= set(labels)),
            metrics=dict(published),
        )
        for data, version, published in _PUBLISHED
    )

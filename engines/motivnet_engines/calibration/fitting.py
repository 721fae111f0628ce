"""Fit a temperature, class statistics and a distance threshold to labelled outputs.

Nothing is evaluated on images that it was fitted to: without held-out images, temperature and
threshold come from 5-fold cross-validation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motivnet.errors import DatasetError
from motivnet.prediction import softmax
from motivnet.printable import counted
from motivnet_engines.calibration.labelled_outputs import LabelledOutputs
from motivnet_engines.inference.class_statistics import ClassStatistics, fit_class_statistics

KNOWN_SHARE = 0.95
"""Of the held-out images of the model's classes; this share is within the threshold."""

FOLDS = 5
MIN_PER_CLASS = 10
MIN_HELD_OUT = 40
"""Two images beyond a threshold of 95 %: with fewer, a single outlier decides."""

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
"""The best temperature for a folder without mistakes is zero."""

_BINS = 15
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedCalibration:
    """Temperature, statistics and threshold, with their metrics on the held-out images.

    ``accuracy`` is the model's, which no temperature changes. ``error_after`` and ``known_share``
    are cross-validated: each fold is measured with the temperature and threshold of the others.
    """

    statistics: ClassStatistics
    temperature: float
    distance_threshold: float
    error_before: float
    error_after: float
    known_share: float
    accuracy: float


def fit_calibration(
    outputs: LabelledOutputs, *, held_out: LabelledOutputs | None = None
) -> FittedCalibration:
    """Fit the calibration of a model to its outputs for labelled images.

    The statistics use all ``outputs``. Temperature and threshold are chosen on ``held_out``, or
    without it on ``outputs``, with the distances of each fold from the statistics of the others.

    Raises:
        DatasetError: If there are too few images, or the images of each class are the same to the
            model.
    """
    check_counts(outputs.counts(), held_out=(held_out or outputs).counts())
    statistics = fit_class_statistics(outputs.embedding, outputs.classes)
    if held_out is None:
        held_out, distances = outputs, _cross_validated_distances(outputs)
    else:
        distances = statistics.distances(held_out.embedding)
    logits, classes = held_out.logits, held_out.classes
    tempered = np.empty_like(logits)
    known = 0
    for fold in folds(classes):
        tempered[fold] = logits[fold] / fit_temperature(logits[~fold], classes[~fold])
        known += int((distances[fold] <= fit_threshold(distances[~fold])).sum())
    return FittedCalibration(
        statistics=statistics,
        temperature=fit_temperature(logits, classes),
        distance_threshold=fit_threshold(distances),
        error_before=calibration_error(softmax(logits.astype(np.float32)), classes),
        error_after=calibration_error(softmax(tempered.astype(np.float32)), classes),
        known_share=known / len(classes),
        accuracy=float((logits.argmax(axis=1) == classes).mean()),
    )


def check_counts(images: Mapping[str, int], *, held_out: Mapping[str, int]) -> None:
    """Refuse too few images by label; a class without images does not count.

    Args:
        held_out: The images that the threshold is chosen on, which may be the same.

    Raises:
        DatasetError: Naming the class.
    """
    counts = {label: count for label, count in images.items() if count}
    if not counts:
        raise DatasetError(
            "there are no images of the model's classes; give a folder for each class"
        )
    label, smallest = min(counts.items(), key=lambda item: item[1])
    if smallest < MIN_PER_CLASS:
        raise DatasetError(
            f"the class {label} has {counted(smallest, 'image')}, and at least {MIN_PER_CLASS} are "
            "needed; add some, or leave the class away"
        )
    if (number := sum(held_out.values())) < MIN_HELD_OUT:
        raise DatasetError(
            f"{counted(number, 'image')} cannot tell which distance 5 % of them exceed; "
            f"give at least {MIN_HELD_OUT}"
        )


def folds(classes: NDArray[np.intp]) -> Iterator[NDArray[np.bool_]]:
    """Yield five masks ``(N,)`` that partition the images, each with a fifth of every class.

    A fold holds neighbours in the order of the names, because pictures of one person are usually
    next to each other.
    """
    fold_of = np.empty(len(classes), np.intp)
    for place in np.unique(classes):
        own = np.flatnonzero(classes == place)
        fold_of[own] = np.arange(len(own)) * FOLDS // len(own)
    return (fold_of == fold for fold in range(FOLDS))


def _cross_validated_distances(outputs: LabelledOutputs) -> NDArray[np.float64]:
    distances = np.empty(len(outputs.classes))
    for fold in folds(outputs.classes):
        statistics = fit_class_statistics(outputs.embedding[~fold], outputs.classes[~fold])
        distances[fold] = statistics.distances(outputs.embedding[fold])
    return distances


def fit_threshold(values: NDArray[np.float64]) -> float:
    """Return the smallest of the values that at least 95 % of them do not exceed."""
    return float(np.quantile(values, KNOWN_SHARE, method="inverted_cdf"))


def fit_temperature(logits: NDArray[np.float64], classes: NDArray[np.intp]) -> float:
    """Return the temperature at which ``(N, classes)`` logits have the highest likelihood.

    The likelihood is concave in the reciprocal of the temperature and so has one maximum, which a
    golden-section search over the logarithm finds.
    """
    low, high = math.log(MIN_TEMPERATURE), math.log(MAX_TEMPERATURE)
    while high - low > 1e-6:
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        left_loss = negative_log_likelihood(logits / math.exp(left), classes)
        right_loss = negative_log_likelihood(logits / math.exp(right), classes)
        low, high = (low, right) if left_loss < right_loss else (left, high)
    return math.exp((low + high) / 2)


def negative_log_likelihood(logits: NDArray[np.float64], classes: NDArray[np.intp]) -> float:
    """Return the mean over N images with logits ``(N, classes)`` and classes ``(N,)``."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    logarithms = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return float(-logarithms[np.arange(len(classes)), classes].mean())


def calibration_error(probabilities: NDArray[np.float64], classes: NDArray[np.intp]) -> float:
    """Return the expected calibration error of probabilities ``(N, classes)``.

    The gap between confidence and accuracy in 15 bins of equal width, weighted by the number of
    images in each (Guo et al. 2017, arXiv 1706.04599, equation 3).
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == classes
    bins = np.minimum((confidence * _BINS).astype(np.intp), _BINS - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(classes))

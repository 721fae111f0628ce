"""A calibration out of labelled outputs; nothing is judged by images that it was fitted to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motivnet.errors import DatasetError
from motivnet.prediction import softmax
from motivnet_engines.calibration.labelled_images import LabelledOutputs
from motivnet_engines.calibration.temperature import calibration_error, fitted_temperature
from motivnet_engines.inference.class_statistics import ClassStatistics, statistics_of_classes

KNOWN_SHARE = 0.95
"""Of the held-out images of the model's classes that are to be within the threshold."""

FOLDS = 5
MIN_OF_A_CLASS = 10
MIN_HELD_OUT = 40
"""Two images beyond a threshold of 95 %: with fewer it is the place of a single outlier."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedCalibration:
    """Temperature, statistics and threshold, and what they come to on images that had no part in
    them.

    ``accuracy`` is the model's on the held-out images, which no temperature changes.

    ``error_after`` and ``known_share`` are of each fifth of the held-out images, with the
    temperature and the threshold that the others give.
    """

    statistics: ClassStatistics
    temperature: float
    distance_threshold: float
    error_before: float
    error_after: float
    known_share: float
    accuracy: float


def fitted_calibration(
    outputs: LabelledOutputs, *, held_out: LabelledOutputs | None = None
) -> FittedCalibration:
    """The calibration of a model by what it says of labelled images.

    Statistics are of all ``outputs``. Temperature and threshold are chosen on ``held_out``. Without
    it they are chosen on ``outputs``, where each fifth of a class has its distances from the
    statistics of the other four.

    Raises:
        DatasetError: If there are too few images, or the images of each class are the same to the
        model.
    """
    check_counts(outputs.counts(), held_out=(held_out or outputs).counts())
    statistics = statistics_of_classes(outputs.embedding, outputs.classes)
    if held_out is None:
        held_out, distances = outputs, _distances_across(outputs)
    else:
        distances = statistics.distances(held_out.embedding)
    parts = list(folds(held_out.classes))
    return FittedCalibration(
        statistics=statistics,
        temperature=fitted_temperature(held_out.logits, held_out.classes),
        distance_threshold=threshold_below(distances),
        error_before=calibration_error(
            softmax(held_out.logits.astype(np.float32)), held_out.classes
        ),
        error_after=calibration_error(_tempered_across(held_out, parts), held_out.classes),
        known_share=_known_across(distances, parts),
        accuracy=float((held_out.logits.argmax(axis=1) == held_out.classes).mean()),
    )


def threshold_below(values: NDArray[np.float64]) -> float:
    """The smallest of the values that at least 95 % of them do not exceed."""
    return float(np.quantile(values, KNOWN_SHARE, method="inverted_cdf"))


def folds(classes: NDArray[np.intp]) -> Iterator[NDArray[np.bool_]]:
    """Five masks ``(N,)`` that together hold every image once, each a fifth of every class.

    A fifth is of neighbours in the order of the names, where pictures of one person are mostly side
    by side.
    """
    order = np.empty(len(classes), np.intp)
    for place in np.unique(classes):
        own = np.flatnonzero(classes == place)
        order[own] = np.arange(len(own)) * FOLDS // len(own)
    return (order == fold for fold in range(FOLDS))


def check_counts(images: Mapping[str, int], *, held_out: Mapping[str, int]) -> None:
    """Refuses too few images by label; a class without any is none.

    Args:
        held_out: Those that the threshold is chosen on, the same where there are no others.

    Raises:
        DatasetError: Naming the class.
    """
    counts = {label: count for label, count in images.items() if count}
    if not counts:
        raise DatasetError(
            "there are no images of the model's classes; give a folder for each class"
        )
    label, smallest = min(counts.items(), key=lambda item: item[1])
    if smallest < MIN_OF_A_CLASS:
        raise DatasetError(
            f"the class {label} has {smallest} images, and at least {MIN_OF_A_CLASS} are needed; add some, or "
            "leave the class away"
        )
    if (number := sum(held_out.values())) < MIN_HELD_OUT:
        raise DatasetError(
            f"{number} images are too few to tell which distance 5 % of them exceed; give at least {MIN_HELD_OUT}"
        )


def _distances_across(outputs: LabelledOutputs) -> NDArray[np.float64]:
    """Distances ``(N,)`` of each fifth from the statistics of the other four."""
    distances = np.empty(len(outputs.classes))
    for fold in folds(outputs.classes):
        statistics = statistics_of_classes(outputs.embedding[~fold], outputs.classes[~fold])
        distances[fold] = statistics.distances(outputs.embedding[fold])
    return distances


def _tempered_across(
    outputs: LabelledOutputs, parts: list[NDArray[np.bool_]]
) -> NDArray[np.float64]:
    """Probabilities ``(N, classes)`` of each fifth at the temperature of the other four."""
    tempered = np.empty_like(outputs.logits)
    for fold in parts:
        temperature = fitted_temperature(outputs.logits[~fold], outputs.classes[~fold])
        tempered[fold] = outputs.logits[fold] / temperature
    return softmax(tempered.astype(np.float32))


def _known_across(distances: NDArray[np.float64], parts: list[NDArray[np.bool_]]) -> float:
    """The share of images within the threshold that the other four fifths give."""
    known = sum(int((distances[fold] <= threshold_below(distances[~fold])).sum()) for fold in parts)
    return known / len(distances)

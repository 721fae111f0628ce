"""New classes and new people put beside the old, out of labelled outputs."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from motivnet.errors import DatasetError
from motivnet_engines.adaptation.mixture_fitting import fitted_mixture
from motivnet_engines.calibration.fitting import folds
from motivnet_engines.calibration.labelled_images import LabelledOutputs
from motivnet_engines.calibration.temperature import fitted_temperature
from motivnet_engines.inference.mixture import merged
from motivnet_engines.inference.mixture_head import MixtureReadout, features_of
from motivnet_engines.inference.whitening import Whitening, whitening_within_classes

MIN_OF_A_CLASS = 3
"""So that two are left when a fifth is put aside."""

ENOUGH_OF_A_CLASS = 5
"""One for each fifth; with fewer a class is learnt, and a person is told."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lesson:
    """What was learnt, and log densities ``(N, classes)`` of each fifth of the images by what the others teach."""

    readout: MixtureReadout
    densities: NDArray[np.float64]


def learnt(outputs: LabelledOutputs, *, before: MixtureReadout | None = None) -> Lesson:
    """A readout that knows the classes of these images besides those of ``before``.

    A class that was known gets a second mixture for its new images, weighted by their number.
    Nothing of another class changes. The temperature is chosen on each fifth of the images by the
    mixtures of the others, and averaged with the one before by their images.

    Raises:
        DatasetError: If a class has too few images, or fewer than two classes come together.
    """
    check_counts(outputs.counts(), known=() if before is None else before.labels)
    features = features_of(outputs.logits, outputs.embedding)
    whitening = (
        whitening_within_classes(features, outputs.classes) if before is None else before.whitening
    )
    coordinates = whitening.coordinates(features)
    readout = _with_mixtures(
        coordinates, outputs.classes, outputs.labels, whitening=whitening, before=before
    )
    densities = _densities_across(features, outputs, readout.labels, before=before)
    return Lesson(
        readout=replace(
            readout, temperature=_temperature(densities, outputs, readout.labels, before)
        ),
        densities=densities,
    )


def _with_mixtures(
    coordinates: NDArray[np.float64],
    classes: NDArray[np.intp],
    labels: tuple[str, ...],
    *,
    whitening: Whitening,
    before: MixtureReadout | None,
) -> MixtureReadout:
    known = {} if before is None else dict(zip(before.labels, before.mixtures, strict=True))
    for place in np.unique(classes):
        label, mixture = labels[place], fitted_mixture(coordinates[classes == place])
        known[label] = merged(known[label], mixture) if label in known else mixture
    return MixtureReadout(labels=tuple(known), whitening=whitening, mixtures=tuple(known.values()))


def _densities_across(
    features: NDArray[np.float64],
    outputs: LabelledOutputs,
    labels: tuple[str, ...],
    *,
    before: MixtureReadout | None,
) -> NDArray[np.float64]:
    densities = np.empty((len(features), len(labels)))
    for fold in folds(outputs.classes):
        if not fold.any():
            continue
        own, classes = features[~fold], outputs.classes[~fold]
        whitening = whitening_within_classes(own, classes) if before is None else before.whitening
        others = _with_mixtures(
            whitening.coordinates(own), classes, outputs.labels, whitening=whitening, before=before
        )
        by_label = dict(zip(others.labels, others.mixtures, strict=True))
        coordinates = whitening.coordinates(features[fold])
        densities[fold] = np.stack(
            [by_label[label].log_density(coordinates) for label in labels], axis=1
        )
    return densities


def _temperature(
    densities: NDArray[np.float64],
    outputs: LabelledOutputs,
    labels: tuple[str, ...],
    before: MixtureReadout | None,
) -> float:
    places = np.array([labels.index(outputs.labels[place]) for place in outputs.classes], np.intp)
    fitted = fitted_temperature(densities, places)
    if before is None:
        return fitted
    images = sum(mixture.images for mixture in before.mixtures)
    share = len(places) / (images + len(places))
    return math.exp(share * math.log(fitted) + (1 - share) * math.log(before.temperature))


def check_counts(images: Mapping[str, int], *, known: Collection[str]) -> None:
    """Refuses too few images by label, and a single class where none is known; a class without any
    is none.

    Raises:
        DatasetError: Naming the class.
    """
    counts = {label: count for label, count in images.items() if count}
    label, smallest = min(counts.items(), key=lambda item: item[1])
    if smallest < MIN_OF_A_CLASS:
        raise DatasetError(
            f"the class {label} has {smallest} images; give at least {ENOUGH_OF_A_CLASS}"
        )
    if not known and len(counts) < 2:
        raise DatasetError(
            f"{label} alone is nothing to choose between; give two classes or more, or --classes FILE"
        )


def classes_with_few(images: Mapping[str, int]) -> list[str]:
    """The classes that have images, and fewer than are enough."""
    return [label for label, count in images.items() if 0 < count < ENOUGH_OF_A_CLASS]

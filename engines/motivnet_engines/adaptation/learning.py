"""New classes and new people put beside the old, out of labelled outputs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from motivnet.errors import DatasetError
from motivnet_engines.adaptation.mixture import merged
from motivnet_engines.adaptation.mixture_fitting import fitted_mixture
from motivnet_engines.adaptation.readout import MixtureReadout, features_of
from motivnet_engines.calibration.fitting import folds
from motivnet_engines.calibration.temperature import fitted_temperature
from motivnet_engines.calibration.whitening import Whitening, whitening_within_classes
from motivnet_engines.labelled_images import LabelledOutputs

MIN_OF_A_CLASS = 3


def learnt(outputs: LabelledOutputs, *, before: MixtureReadout | None = None) -> MixtureReadout:
    """A readout that knows the classes of these images besides those of ``before``.

    A class that was known gets a second mixture for its new images, weighted by their number. Nothing of another class
    changes. The temperature is chosen on each fifth of the images by the mixtures of the others, and averaged with the
    one before by their images.

    Raises:
        DatasetError: If a class has too few images, or fewer than two classes come together.
    """
    _check_counts(outputs, before)
    features = features_of(outputs.logits, outputs.embedding)
    whitening = whitening_within_classes(features, outputs.classes) if before is None else before.whitening
    coordinates = whitening.coordinates(features)
    readout = _with_mixtures(coordinates, outputs.classes, outputs.labels, whitening=whitening, before=before)
    return replace(readout, temperature=_temperature(coordinates, outputs, readout, before))


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


def _temperature(
    coordinates: NDArray[np.float64], outputs: LabelledOutputs, readout: MixtureReadout, before: MixtureReadout | None
) -> float:
    densities = np.empty((len(coordinates), len(readout.labels)))
    for fold in folds(outputs.classes):
        if not fold.any():
            continue
        others = _with_mixtures(
            coordinates[~fold], outputs.classes[~fold], outputs.labels, whitening=readout.whitening, before=before
        )
        by_label = dict(zip(others.labels, others.mixtures, strict=True))
        densities[fold] = np.stack([by_label[label].log_density(coordinates[fold]) for label in readout.labels], axis=1)
    places = np.array([readout.labels.index(outputs.labels[place]) for place in outputs.classes], np.intp)
    fitted = fitted_temperature(densities, places)
    if before is None:
        return fitted
    images = sum(mixture.images for mixture in before.mixtures)
    share = len(places) / (images + len(places))
    return math.exp(share * math.log(fitted) + (1 - share) * math.log(before.temperature))


def _check_counts(outputs: LabelledOutputs, before: MixtureReadout | None) -> None:
    counts = {label: count for label, count in outputs.counts().items() if count}
    label, smallest = min(counts.items(), key=lambda item: item[1])
    if smallest < MIN_OF_A_CLASS:
        raise DatasetError(f"the class {label} has {smallest} images; give at least {MIN_OF_A_CLASS}, better 20")
    if before is None and len(counts) < 2:
        raise DatasetError(f"{label} alone is nothing to choose between; give two classes or more, or --classes FILE")

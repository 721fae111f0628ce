"""Incremental learning: fit a head to new classes, or to new images of known ones."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from motivnet.errors import DatasetError
from motivnet.printable import counted
from motivnet_engines.adaptation.mixtures import fit_mixture, merge_mixtures
from motivnet_engines.calibration.fitting import fit_temperature, folds
from motivnet_engines.calibration.labelled_outputs import LabelledOutputs
from motivnet_engines.inference.class_statistics import Whitening, fit_whitening
from motivnet_engines.inference.heads import MixtureHead, mixture_features

MIN_PER_CLASS = 3
"""Two are left when a fold is held out."""

ENOUGH_PER_CLASS = 5
"""One for each fold; a class with fewer is learnt, with a warning."""


def learn_classes(
    outputs: LabelledOutputs, *, before: MixtureHead | None = None
) -> tuple[MixtureHead, NDArray[np.float64]]:
    """Fit a head that knows the classes of these images besides those of ``before``.

    Return it with the cross-validated log densities ``(N, classes)`` of its images.

    A known class gets a second mixture for its new images, weighted by their number. Nothing
    changes for the other classes. The temperature is cross-validated, and averaged with the earlier
    one by the number of images.

    Raises:
        DatasetError: If a class has too few images, or there is only one class.
    """
    check_counts(outputs.counts(), known=() if before is None else before.labels)
    features = mixture_features(outputs.logits, outputs.embedding)
    head = _fit_head(features, outputs.classes, outputs.labels, before=before)
    densities = np.empty((len(features), len(head.labels)))
    for fold in folds(outputs.classes):
        if fold.any():
            others = _fit_head(
                features[~fold], outputs.classes[~fold], outputs.labels, before=before
            )
            # Every class is in ``others``, and its order is that of ``head``: a class has at least
            # two images outside the fold.
            densities[fold] = others.log_densities(features[fold])
    temperature = _fit_temperature(densities, outputs, head, before)
    return replace(head, temperature=temperature), densities


def _fit_head(
    features: NDArray[np.float64],
    classes: NDArray[np.intp],
    labels: tuple[str, ...],
    *,
    before: MixtureHead | None,
) -> MixtureHead:
    whitening: Whitening
    if before is None:
        whitening, mixtures = fit_whitening(features, classes), {}
    else:
        whitening = before.whitening
        mixtures = dict(zip(before.labels, before.mixtures, strict=True))
    coordinates = whitening.coordinates(features)
    for place in np.unique(classes):
        label, mixture = labels[place], fit_mixture(coordinates[classes == place])
        if label in mixtures:
            mixture = merge_mixtures(mixtures[label], mixture)
        mixtures[label] = mixture
    return MixtureHead(
        labels=tuple(mixtures), whitening=whitening, mixtures=tuple(mixtures.values())
    )


def _fit_temperature(
    densities: NDArray[np.float64],
    outputs: LabelledOutputs,
    head: MixtureHead,
    before: MixtureHead | None,
) -> float:
    places = np.array([head.labels.index(outputs.labels[i]) for i in outputs.classes], np.intp)
    fitted = fit_temperature(densities, places)
    if before is None:
        return fitted
    images = sum(mixture.images for mixture in before.mixtures)
    share = len(places) / (images + len(places))
    return math.exp(share * math.log(fitted) + (1 - share) * math.log(before.temperature))


def check_counts(images: Mapping[str, int], *, known: Collection[str]) -> None:
    """Refuse too few images by label, and a single class if none is known.

    Raises:
        DatasetError: Naming the class.
    """
    counts = {label: count for label, count in images.items() if count}
    label, smallest = min(counts.items(), key=lambda item: item[1])
    if smallest < MIN_PER_CLASS:
        raise DatasetError(
            f"the class {label} has {counted(smallest, 'image')}; give at least {ENOUGH_PER_CLASS}"
        )
    if not known and len(counts) < 2:
        raise DatasetError(
            f"{label} alone is nothing to choose between; give two classes or more, "
            "or --adapted-classes FILE"
        )

"""Fit a class's mixture to its images with scikit-learn, and merge mixtures of different images."""

from __future__ import annotations

import warnings
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from motivnet.errors import MissingDependencyError
from motivnet_engines.inference.heads import Mixture

try:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import BayesianGaussianMixture
except ModuleNotFoundError as error:
    raise MissingDependencyError("scikit-learn", extra="adapt") from error

MAX_COMPONENTS = 8
"""Of a class that was extended many times; beyond it, the two most similar are joined."""

_MEAN_IMAGES = 0.01
"""How many images the class mean counts for as the prior of a component's mean."""

_Component = tuple[float, NDArray[np.float64], NDArray[np.float64]]
"""Weight, mean and variances."""


def fit_mixture(coordinates: NDArray[np.float64]) -> Mixture:
    """Fit the mixture of one class's images, given as whitened coordinates ``(N, F)``.

    In these coordinates the spread within a class is one in every direction, which is the prior of
    the variances. The prior counts for as many images as there are dimensions (the least that
    scikit-learn takes), so that the variances of a handful of images are almost those of the prior.
    Components that the images do not need fade and are dropped.
    """
    count, width = coordinates.shape
    model = BayesianGaussianMixture(
        n_components=max(1, min(3, count // 10)),
        covariance_type="diag",
        mean_prior=coordinates.mean(axis=0),
        mean_precision_prior=_MEAN_IMAGES,
        covariance_prior=np.full(width, float(width)),
        degrees_of_freedom_prior=width,
        max_iter=200,
        random_state=0,
    )
    with warnings.catch_warnings():
        # The last of 200 steps is good enough.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(coordinates)
    kept = model.weights_ > 1e-6
    return Mixture(
        images=count,
        weights=(model.weights_[kept] / model.weights_[kept].sum()).astype(np.float32),
        means=model.means_[kept].astype(np.float32),
        variances=model.covariances_[kept].astype(np.float32),
    )


def merge_mixtures(first: Mixture, second: Mixture) -> Mixture:
    """Return both mixtures as one, each weighted by its images."""
    images = first.images + second.images
    components: list[_Component] = []
    for mixture in (first, second):
        weights = mixture.weights.astype(np.float64) * mixture.images / images
        means, variances = mixture.means.astype(np.float64), mixture.variances.astype(np.float64)
        components += zip(weights.tolist(), means, variances, strict=True)
    while len(components) > MAX_COMPONENTS:
        components = _join_most_similar(components)
    merged_weights, merged_means, merged_variances = zip(*components, strict=True)
    return Mixture(
        images=images,
        weights=np.array(merged_weights, np.float32),
        means=np.stack(merged_means).astype(np.float32),
        variances=np.stack(merged_variances).astype(np.float32),
    )


def _join_most_similar(components: list[_Component]) -> list[_Component]:
    """Replace the pair that loses least by one Gaussian of the same mean and variances.

    The loss is the bound of Runnalls 2007, "Kullback-Leibler approach to Gaussian mixture
    reduction".
    """

    def spread(component: _Component) -> float:
        weight, _, variances = component
        return weight * float(np.log(variances).sum())

    def loss(pair: tuple[_Component, _Component]) -> float:
        return spread(_join(*pair)) - spread(pair[0]) - spread(pair[1])

    first, second = min(combinations(components, 2), key=loss)
    kept = [one for one in components if one is not first and one is not second]
    return [*kept, _join(first, second)]


def _join(first: _Component, second: _Component) -> _Component:
    """Return the Gaussian with the mean and the variances of two components together."""
    weight = first[0] + second[0]
    mean = (first[0] * first[1] + second[0] * second[1]) / weight
    variances = sum(
        own * (variances + np.square(centre - mean)) for own, centre, variances in (first, second)
    )
    return weight, mean, np.asarray(variances / weight)

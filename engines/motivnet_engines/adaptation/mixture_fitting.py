"""Mixtures fitted to images by scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from motivnet.errors import MissingDependencyError
from motivnet_engines.inference.mixture import Mixture

try:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import BayesianGaussianMixture
except ModuleNotFoundError as error:
    raise MissingDependencyError("scikit-learn", extra="adapt") from error

MAX_FITTED = 3
IMAGES_OF_A_COMPONENT = 10
_FADED = 1e-6
_MEAN_IMAGES = 0.01
"""How many images the common mean counts for as the prior of a component's mean."""


def fitted_mixture(coordinates: NDArray[np.float64]) -> Mixture:
    """The mixture of a class's images, as whitened coordinates ``(N, F)``.

    In these coordinates the spread within a class is one in every direction, which is the prior of
    the variances; it counts for as many images as there are dimensions (the least that scikit-learn
    takes), so that the variances of a handful of images are almost the prior's. Components that the
    images do not need fade and are dropped.
    """
    count, width = coordinates.shape
    model = BayesianGaussianMixture(
        n_components=max(1, min(MAX_FITTED, count // IMAGES_OF_A_COMPONENT)),
        covariance_type="diag",
        mean_prior=coordinates.mean(axis=0),
        mean_precision_prior=_MEAN_IMAGES,
        covariance_prior=np.full(width, float(width)),
        degrees_of_freedom_prior=width,
        max_iter=200,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # the last step of 200 is as good a mixture
        model.fit(coordinates)
    kept = model.weights_ > _FADED
    return Mixture(
        images=count,
        weights=(model.weights_[kept] / model.weights_[kept].sum()).astype(np.float32),
        means=model.means_[kept].astype(np.float32),
        variances=model.covariances_[kept].astype(np.float32),
    )

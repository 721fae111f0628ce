"""The one number that makes probabilities as sure as they are right (Guo et al. 2017, arXiv 1706.04599)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

LOWEST, HIGHEST = 0.05, 20.0
"""Of a temperature; a folder on which the model makes no mistake has its best one at zero."""

BINS = 15
_GOLDEN = (math.sqrt(5) - 1) / 2
_PRECISION = 1e-6


def fitted_temperature(logits: NDArray[np.float64], classes: NDArray[np.intp]) -> float:
    """The temperature at which logits ``(N, classes)`` give the labelled classes ``(N,)`` the
    highest likelihood.

    By golden section over its logarithm: the likelihood is concave in the reciprocal, so that it
    has one maximum.
    """
    low, high = math.log(LOWEST), math.log(HIGHEST)
    while high - low > _PRECISION:
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if negative_log_likelihood(logits / math.exp(left), classes) < negative_log_likelihood(
            logits / math.exp(right), classes
        ):
            high = right
        else:
            low = left
    return math.exp((low + high) / 2)


def negative_log_likelihood(logits: NDArray[np.float64], classes: NDArray[np.intp]) -> float:
    """The mean over N images of logits ``(N, classes)`` and their classes ``(N,)``."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    logarithms = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return float(-logarithms[np.arange(len(classes)), classes].mean())


def calibration_error(probabilities: NDArray[np.float64], classes: NDArray[np.intp]) -> float:
    """The expected calibration error of probabilities ``(N, classes)``: how far confidence is from
    accuracy.

    The mean over 15 bins of equal width between 0 and 1, weighted by their images (Guo et al. 2017,
    equation 3).
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == classes
    bins = np.minimum((confidence * BINS).astype(np.intp), BINS - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(classes))

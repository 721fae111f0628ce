"""Statistics of classes of embeddings: a common whitening, and the class means in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motivnet.errors import DatasetError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Whitening:
    """Coordinates ``(x - mean) @ matrix``; ``mean`` is ``(D,)`` and ``matrix`` is ``(D, D)``.

    In these coordinates the spread within a class is one in every direction.
    """

    mean: NDArray[np.float32]
    matrix: NDArray[np.float32]

    def coordinates(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the coordinates ``(N, D)`` of features ``(N, D)``."""
        matrix = self.matrix.astype(np.float64)
        centred = features - self.mean
        # One row at a time: a product of two matrices rounds a row differently depending on the
        # rows beside it, and a prediction must not depend on its batch.
        return np.stack([row @ matrix for row in centred]) if len(centred) else centred


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassStatistics:
    """A whitening of embeddings of width D, and the means ``(K, D)`` of K classes in it."""

    whitening: Whitening
    means: NDArray[np.float32]

    def distances(self, embedding: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the Mahalanobis distances ``(B,)`` of ``(B, D)`` from the nearest class mean.

        All classes share one covariance (Lee et al. 2018, arXiv 1807.03888), that of embeddings of
        unit length.
        """
        coordinates = self.whitening.coordinates(unit_rows(embedding))
        squares = np.square(coordinates[:, None, :] - self.means).sum(axis=2)
        return np.asarray(np.sqrt(squares.min(axis=1)), np.float64)


def fit_class_statistics(
    embedding: NDArray[np.float32], classes: NDArray[np.intp]
) -> ClassStatistics:
    """Fit the statistics of labelled embeddings ``(N, D)``; a class without images has no mean.

    Raises:
        DatasetError: If the embeddings of a class do not differ.
    """
    features = unit_rows(embedding)
    whitening = fit_whitening(features, classes)
    coordinates = whitening.coordinates(features)
    means = [coordinates[classes == place].mean(axis=0) for place in np.unique(classes)]
    return ClassStatistics(whitening=whitening, means=np.stack(means).astype(np.float32))


def fit_whitening(features: NDArray[np.float64], classes: NDArray[np.intp]) -> Whitening:
    """Fit the whitening by the covariance around the class means, which all classes share.

    Args:
        features: ``(N, D)``.
        classes: ``(N,)``, the index of each one's class.

    Raises:
        DatasetError: If the features of a class do not differ.
    """
    residuals = np.empty_like(features)
    for place in np.unique(classes):
        own = classes == place
        residuals[own] = features[own] - features[own].mean(axis=0)
    values, vectors = np.linalg.eigh(shrink_covariance(residuals))
    if values[0] <= np.finfo(np.float64).eps * max(values[-1], np.finfo(np.float64).tiny):
        raise DatasetError(
            "the images of each class are all the same to the model; give different faces"
        )
    matrix = (vectors / np.sqrt(values)).astype(np.float32)
    return Whitening(mean=features.mean(axis=0).astype(np.float32), matrix=matrix)


def shrink_covariance(residuals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the covariance ``(D, D)`` of centred ``(N, D)``, shrunk towards the identity.

    With fewer images than dimensions the plain covariance has no inverse. The amount of shrinkage
    is the estimate of Ledoit and Wolf 2004, "A well-conditioned estimator for large-dimensional
    covariance matrices", lemma 3.2.
    """
    count, width = residuals.shape
    plain = residuals.T @ residuals / count
    scale = np.trace(plain) / width
    distance = np.square(plain - scale * np.eye(width)).sum()
    fourth = np.square(np.square(residuals).sum(axis=1)).sum()
    error = (fourth / count - np.square(plain).sum()) / count
    share = 1.0 if distance == 0 else float(np.clip(error / distance, 0, 1))
    return np.asarray((1 - share) * plain + share * scale * np.eye(width), np.float64)


def unit_rows(embedding: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return embeddings ``(N, D)`` divided by their lengths; a zero stays zero.

    The length says little about what an image shows, and it spoils a covariance that all classes
    share (Mueller and Hein 2025, Mahalanobis++, arXiv 2505.18032).
    """
    double = embedding.astype(np.float64)
    lengths = np.linalg.norm(double, axis=1, keepdims=True)
    return np.asarray(double / np.where(lengths > 0, lengths, 1), np.float64)

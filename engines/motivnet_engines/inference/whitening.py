"""A space in which the spread within a class is the same in every direction, estimated from few images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motivnet.errors import DatasetError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Whitening:
    """Coordinates ``(x - mean) @ matrix`` of features; ``mean`` is ``(D,)`` and ``matrix`` ``(D, D)``."""

    mean: NDArray[np.float32]
    matrix: NDArray[np.float32]

    def coordinates(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """``(N, D)`` of features ``(N, D)``.

        Row by row: a product of matrices rounds a row in another way if other rows are beside it,
        and a prediction must not depend on the batch that it was made in.
        """
        matrix = self.matrix.astype(np.float64)
        centred = features - self.mean
        return np.stack([row @ matrix for row in centred]) if len(centred) else centred


def unit_rows(embedding: NDArray[np.float32]) -> NDArray[np.float64]:
    """Embeddings ``(N, D)`` divided by their lengths; a zero stays one.

    The length says little about what an image shows, and spoils a covariance that all classes are
    to share (Mueller and Hein 2025, Mahalanobis++, arXiv 2505.18032).
    """
    double = embedding.astype(np.float64)
    lengths = np.linalg.norm(double, axis=1, keepdims=True)
    return np.asarray(double / np.where(lengths > 0, lengths, 1), np.float64)


def whitening_within_classes(features: NDArray[np.float64], classes: NDArray[np.intp]) -> Whitening:
    """The whitening by the covariance ``(D, D)`` around the class means, which all classes share.

    Args:
        features: ``(N, D)``.
        classes: ``(N,)``, the place of each one's class.

    Raises:
        DatasetError: If the features of a class do not differ.
    """
    residuals = np.concatenate(
        [_centred(features[classes == place]) for place in np.unique(classes)]
    )
    values, vectors = np.linalg.eigh(shrunk_covariance(residuals))
    if values[0] <= np.finfo(np.float64).eps * max(values[-1], np.finfo(np.float64).tiny):
        raise DatasetError(
            "the images of each class are all the same to the model; give different faces"
        )
    matrix = (vectors / np.sqrt(values)).astype(np.float32)
    return Whitening(mean=features.mean(axis=0).astype(np.float32), matrix=matrix)


def shrunk_covariance(residuals: NDArray[np.float64]) -> NDArray[np.float64]:
    """The covariance ``(D, D)`` of centred ``(N, D)``, moved to a multiple of the identity as few
    images demand.

    With fewer images than dimensions the plain covariance has no inverse; how far to move it is the
    estimate of Ledoit and Wolf 2004, "A well-conditioned estimator for large-dimensional covariance
    matrices", lemma 3.2.
    """
    count, width = residuals.shape
    plain = residuals.T @ residuals / count
    scale = np.trace(plain) / width
    distance = np.square(plain - scale * np.eye(width)).sum()
    fourth = np.square(np.square(residuals).sum(axis=1)).sum()
    error = (fourth / count - np.square(plain).sum()) / count
    share = 1.0 if distance == 0 else float(np.clip(error / distance, 0, 1))
    return np.asarray((1 - share) * plain + share * scale * np.eye(width), np.float64)


def _centred(features: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(features - features.mean(axis=0), np.float64)

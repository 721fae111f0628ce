"""Where each class lies among the embeddings, and how far an embedding is from the nearest of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motivnet_engines.inference.whitening import Whitening, unit_rows, whitening_within_classes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassStatistics:
    """The whitening of embeddings of width D, and the means ``(K, D)`` of the classes in its coordinates."""

    whitening: Whitening
    means: NDArray[np.float32]

    def distances(self, embedding: NDArray[np.float32]) -> NDArray[np.float64]:
        """Mahalanobis distances ``(B,)`` of embeddings ``(B, D)`` from their nearest class mean.

        The covariance is one for all classes (Lee et al. 2018, arXiv 1807.03888), of embeddings of
        unit length.
        """
        coordinates = self.whitening.coordinates(unit_rows(embedding))
        squares = np.square(coordinates[:, None, :] - self.means).sum(axis=2)
        return np.asarray(np.sqrt(squares.min(axis=1)), np.float64)


def statistics_of_classes(
    embedding: NDArray[np.float32], classes: NDArray[np.intp]
) -> ClassStatistics:
    """The statistics of labelled embeddings ``(N, D)``; of a class without images there is no mean.

    Raises:
        DatasetError: If the embeddings of a class do not differ.
    """
    features = unit_rows(embedding)
    whitening = whitening_within_classes(features, classes)
    coordinates = whitening.coordinates(features)
    means = [coordinates[classes == place].mean(axis=0) for place in np.unique(classes)]
    return ClassStatistics(whitening=whitening, means=np.stack(means).astype(np.float32))

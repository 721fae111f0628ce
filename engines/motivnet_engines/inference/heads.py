"""From a model's outputs to the probabilities of classes.

A Protocol, because there are two ways: the model's own logits, and mixtures fitted to its
embeddings, which may know classes that the model was not trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from motivnet.prediction import softmax


class Readout(Protocol):
    """``labels`` are the classes in the order of ``probabilities``."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes in output order."""

    def probabilities(
        self, logits: NDArray[np.float32], embedding: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """``(B, classes)`` of logits ``(B, outputs)`` and embeddings ``(B, width)``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftmaxReadout:
    """The softmax of the model's logits divided by a temperature (Guo et al. 2017, arXiv 1706.04599)."""

    labels: tuple[str, ...]
    temperature: float = 1.0

    def probabilities(
        self, logits: NDArray[np.float32], embedding: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """``(B, classes)``; the embedding is not looked at."""
        del embedding
        return softmax(np.asarray(logits / np.float32(self.temperature)))

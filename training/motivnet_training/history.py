"""The metrics of each epoch, and what follows from them: the best epoch and early stopping."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from motivnet.checkpoints.weights import listed
from motivnet.errors import TrainingError
from motivnet.metrics import ClassificationMetrics, compute_metrics, cross_entropy
from motivnet.prediction import softmax
from motivnet.schema import Schema
from motivnet_training.data import LabelledInputs
from motivnet_training.non_finite import ADVICE
from motivnet_training.recipe import TrainingRecipe

VALIDATION_METRICS = ("accuracy", "uar", "macro_f1", "macro_precision", "auroc")


class EpochMetrics(Schema, frozen=True, kw_only=True):
    """One epoch; ``epoch`` counts from 1, ``steps`` counts all optimizer steps so far.

    The learning rates are those of the epoch's last step; the metrics are of the validation images.
    """

    epoch: int
    steps: int
    encoder_lr: float
    decoder_lr: float
    train_loss: float
    val_loss: float
    accuracy: float
    uar: float
    macro_f1: float
    macro_precision: float
    auroc: float | None


History = tuple[EpochMetrics, ...]


def validation_metrics(
    validation: LabelledInputs, logits: NDArray[np.float64], labels: tuple[str, ...]
) -> ClassificationMetrics:
    """Return the metrics of the validation images from their logits ``(N, classes)``.

    Raises:
        TrainingError: Naming the images with a logit that is NaN or infinite.
    """
    finite = np.isfinite(logits).all(axis=1)
    if not finite.all():
        bad = listed(validation.names[index] for index in np.flatnonzero(~finite))
        raise TrainingError(
            f"the model gives NaN or infinity for the validation images {bad}; {ADVICE}"
        )
    probabilities = softmax(logits.astype(np.float32))
    loss = cross_entropy(validation.targets.double().numpy(), probabilities)
    return compute_metrics(validation.labels, probabilities, labels, loss=loss)


def best_epoch(history: Sequence[EpochMetrics]) -> EpochMetrics:
    """Return the epoch of the lowest validation loss, the first of them if several have it."""
    return min(history, key=lambda metrics: metrics.val_loss)


def is_better(metrics: EpochMetrics, before: Sequence[EpochMetrics]) -> bool:
    """Return whether an epoch is better than all before it."""
    return metrics.val_loss < min((earlier.val_loss for earlier in before), default=math.inf)


def is_over(history: Sequence[EpochMetrics], recipe: TrainingRecipe) -> bool:
    """Return whether all epochs of the recipe are done, or its patience has run out."""
    if not history:
        return False
    waited = len(history) - best_epoch(history).epoch
    stops_early = recipe.patience is not None and waited >= recipe.patience
    return len(history) >= recipe.epochs or stops_early


def csv_from_history(history: Sequence[EpochMetrics]) -> str:
    """Return a table with one row per epoch; a metric that is not defined is left empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, EpochMetrics.__struct_fields__, lineterminator="\n")
    writer.writeheader()
    writer.writerows(msgspec.structs.asdict(metrics) for metrics in history)
    return text.getvalue()

"""What each epoch of a training came to."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from motivnet_training.recipe import TrainingRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochFigures:
    """One epoch; ``epoch`` counts from 1, ``steps`` those of the optimiser since the start.

    The learning rates are those of the epoch's end, before the course advances; the figures are of
    the validation images.
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


History = tuple[EpochFigures, ...]


def best_of(history: Sequence[EpochFigures]) -> EpochFigures:
    """The epoch of the lowest validation loss, the first of them if several have it."""
    return min(history, key=lambda figures: figures.val_loss)


def is_better(figures: EpochFigures, before: Sequence[EpochFigures]) -> bool:
    """Whether an epoch is better than all before it."""
    return figures.val_loss < min((earlier.val_loss for earlier in before), default=math.inf)


def is_over(history: Sequence[EpochFigures], recipe: TrainingRecipe) -> bool:
    """Whether all epochs of the recipe are done, or its patience has passed since the best."""
    if not history:
        return False
    waited = len(history) - best_of(history).epoch
    return len(history) >= recipe.epochs or (
        recipe.patience is not None and waited >= recipe.patience
    )


def csv_from_history(history: Sequence[EpochFigures]) -> str:
    """A table with a row an epoch; a figure that is not defined is left empty."""
    names = [field.name for field in dataclasses.fields(EpochFigures)]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(dataclasses.asdict(figures) for figures in history)
    return text.getvalue()

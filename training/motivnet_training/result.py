"""What a training leaves besides weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from motivnet.datasets.published import PublishedResult
from motivnet.metrics import ClassificationFigures
from motivnet_training.history import History


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCounts:
    """What was trained and judged on.

    ``images`` counts the training images by label, ``drawn`` those and what was held out of them to
    validate on; ``skipped`` counts what was left out by reason; ``unreadable`` has the reason by
    name, ``duplicates`` the names of equal images in different parts.
    """

    dataset: str
    layout: str
    labels: tuple[str, ...]
    training_images: int
    validation_images: int
    test_images: int
    images: dict[str, int]
    drawn: dict[str, int]
    skipped: dict[str, int]
    unreadable: dict[str, str]
    duplicates: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """A training that has ended.

    The figures are those of the checkpoint, ``published`` those of the paper; ``seconds`` are those
    of this process.
    """

    format_version: Literal[1] = 1
    kind: Literal["training"] = "training"
    checkpoint: str
    recipe: str
    seed: int
    data: DataCounts
    epoch: int
    epochs: int
    validation: ClassificationFigures
    test: ClassificationFigures | None
    history: History
    published: tuple[PublishedResult, ...]
    seconds: float

"""What a run over labelled images leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PYTORCH = "pytorch"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationFigures:
    """Figures between 0 and 1 over ``images`` images.

    Means over classes (``macro_f1``, ``balanced_accuracy``, ``auroc``) take the classes that the data has;
    ``absent`` names the others, whose ``recall`` is None. ``auroc`` is one class against the rest, averaged over
    classes (Provost & Domingos 2000 without its weights), None where the data has one class only. ``confusion`` counts
    images by true class (rows) and predicted class (columns), both in label order.
    """

    images: int
    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    auroc: float | None
    recall: dict[str, float | None]
    confusion: tuple[tuple[int, ...], ...]
    absent: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeAccuracy:
    """The figures of one runtime; ``compute`` is the dtype in which it multiplies matrices."""

    runtime: str
    compute: str
    figures: ClassificationFigures


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """An image that two runtimes label differently; ``image`` is its path in the dataset."""

    image: str
    truth: str
    predicted: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyResult:
    """The figures of every runtime over the same images.

    ``skipped`` counts by reason the files that were left out; ``unreadable`` names those of them that lie in a class
    folder. None of them takes part in the figures.
    """

    format_version: Literal[1] = 1
    kind: Literal["accuracy"] = "accuracy"
    artifact: str
    dataset: str
    labels: tuple[str, ...]
    runtimes: tuple[RuntimeAccuracy, ...]
    flips: tuple[Flip, ...]
    unreadable: dict[str, str]
    skipped: dict[str, int]

"""What a run over labelled images leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from motivnet.datasets.published import PublishedResult
from motivnet.datasets.sample import Part
from motivnet.metrics import ClassificationFigures

PYTORCH = "pytorch"


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
    """The figures of every runtime over the same images, beside the published ones.

    ``layout`` names what the dataset was recognised as, on which it depends whether the published
    are of the same data. ``skipped`` counts by reason the files that were left out; ``unreadable``
    names those of them that lie in a class folder. None of them takes part in the figures.
    """

    format_version: Literal[2] = 2
    kind: Literal["accuracy"] = "accuracy"
    artifact: str
    dataset: str
    layout: str
    part: Part | None
    labels: tuple[str, ...]
    runtimes: tuple[RuntimeAccuracy, ...]
    published: tuple[PublishedResult, ...]
    flips: tuple[Flip, ...]
    unreadable: dict[str, str]
    skipped: dict[str, int]

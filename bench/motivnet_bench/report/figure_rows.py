"""Figures of classification as rows of text, ours beside the published, once for the terminal and the reports."""

from __future__ import annotations

from collections.abc import Sequence

from motivnet.datasets.published import PublishedResult
from motivnet.metrics import ClassificationFigures
from motivnet_bench.report.columns import DASH

TITLES = {
    "accuracy": "accuracy (WAR)",
    "uar": "macro recall (UAR)",
    "macro_precision": "macro precision",
    "macro_f1": "macro F1",
    "auroc": "AUROC (macro, one against the rest)",
    "loss": "loss (cross-entropy)",
}
"""Fields of ``ClassificationFigures`` in the order of the rows."""

_NOT_A_SHARE = frozenset(("auroc", "loss"))


def figure_rows(
    ours: Sequence[ClassificationFigures], published: Sequence[PublishedResult]
) -> tuple[tuple[str, ...], ...]:
    """A row per figure: its name, ours, and the published ones; the recalls of the classes come last."""
    counts = ("images", *(str(figures.images) for figures in ours), *[DASH] * len(published))
    rows = [
        (
            title,
            *(figure_text(name, getattr(figures, name)) for figures in ours),
            *(figure_text(name, result.figures.get(name)) for result in published),
        )
        for name, title in TITLES.items()
    ]
    recalls = [
        (
            f"recall {label}",
            *(figure_text("recall", figures.recall[label]) for figures in ours),
            *[DASH] * len(published),
        )
        for label in ours[0].recall
    ]
    return (counts, *rows, *recalls)


def figure_text(name: str, value: float | None) -> str:
    """A share as a percentage, any other figure with four decimals."""
    if value is None:
        return DASH
    return f"{value:.4f}" if name in _NOT_A_SHARE else f"{value:.2%}"


def published_note(published: Sequence[PublishedResult]) -> str:
    """Which data the published figures are of."""
    same = dict.fromkeys(result.dataset for result in published if result.same_data)
    if not same:
        return "the published figures are the paper's, measured on other data than these"
    return f"of the published figures those on {', '.join(same)} are of the same dataset, the others of other data"


def absent_note(figures: ClassificationFigures) -> tuple[str, ...]:
    """Which classes the means leave out, if any."""
    return (
        (f"no image of {', '.join(figures.absent)}: means are over the other classes",)
        if figures.absent
        else ()
    )

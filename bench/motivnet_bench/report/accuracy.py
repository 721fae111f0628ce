"""The report of an accuracy result, and classification metrics beside the published ones."""

from __future__ import annotations

from collections.abc import Sequence

from motivnet.metrics import ClassificationMetrics, PublishedResult
from motivnet_bench.accuracy import AccuracyResult
from motivnet_bench.report.document import DASH, Report, Table, notes_from_texts, rows_from_texts

MAX_FLIPS = 10

TITLES = {
    "accuracy": "accuracy (WAR)",
    "uar": "macro recall (UAR)",
    "macro_precision": "macro precision",
    "macro_f1": "macro F1",
    "auroc": "AUROC (macro, one against the rest)",
    "loss": "loss (cross-entropy)",
}
"""Fields of ``ClassificationMetrics`` in the order of the rows."""


def accuracy_report(result: AccuracyResult) -> Report:
    """Return the metrics of every runtime beside the published ones, and where runtimes differ."""
    split = f", {result.split} split" if result.split else ""
    title = f"{result.artifact} on {result.dataset}{split}"
    table = metrics_table(
        {entry.runtime: entry.metrics for entry in result.runtimes}, result.published, title=title
    )
    notes = data_notes(result.runtimes[0].metrics, result.published)
    if len(result.runtimes) == 1:
        notes.append(
            f"only {result.runtimes[0].runtime} was measured; --runtime, repeated, compares "
            "several, pytorch among them, and names the images whose prediction differs"
        )
    for flip in result.flips[:MAX_FLIPS]:
        named = ", ".join(f"{runtime} says {label}" for runtime, label in flip.predicted.items())
        notes.append(f"flip: {flip.image} ({flip.truth}): {named}")
    if len(result.flips) > MAX_FLIPS:
        notes.append(f"and {len(result.flips) - MAX_FLIPS} more flips; --json lists all")
    return Report(title=title, overview=(table, *notes_from_texts(notes, "warning")))


def metrics_table(
    ours: dict[str, ClassificationMetrics],
    published: Sequence[PublishedResult],
    *,
    title: str = "",
) -> Table:
    """Return a row per metric with ours and the published ones; the recalls per class come last."""
    none = [DASH] * len(published)
    rows = [
        ("images", *(str(metrics.images) for metrics in ours.values()), *none),
        *(
            (
                title,
                *(metric_text(name, getattr(metrics, name)) for metrics in ours.values()),
                *(metric_text(name, result.metrics.get(name)) for result in published),
            )
            for name, title in TITLES.items()
        ),
    ]
    for label in next(iter(ours.values())).recall:
        recalls = (metric_text("recall", metrics.recall[label]) for metrics in ours.values())
        rows.append((f"recall {label}", *recalls, *none))
    return Table(
        title=title,
        headings=("metric", *ours, *(result.title for result in published)),
        rows=rows_from_texts(rows),
    )


def metric_text(name: str, value: float | None) -> str:
    """Return a share as a percentage, any other metric with four decimals."""
    if value is None:
        return DASH
    return f"{value:.4f}" if name in ("auroc", "loss") else f"{value:.2%}"


def data_notes(metrics: ClassificationMetrics, published: Sequence[PublishedResult]) -> list[str]:
    """Return the classes that have no image, and last which data the published metrics are of."""
    notes = []
    if metrics.absent:
        absent = ", ".join(metrics.absent)
        notes.append(f"no image of {absent}: means are over the other classes")
    same = dict.fromkeys(result.dataset for result in published if result.same_data)
    if same:
        notes.append(
            f"of the published metrics those on {', '.join(same)} are of the same dataset, "
            "the others of other data"
        )
    else:
        notes.append("the published metrics are the paper's, measured on other data than these")
    return notes

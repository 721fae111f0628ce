"""Results as tables for a terminal."""

from __future__ import annotations

import sys

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from motivnet_bench.accuracy_result import AccuracyResult
from motivnet_bench.columns import DASH, cost_columns, footnotes, row_notes, speed_columns
from motivnet_bench.result import CandidateResult, LatencyResult
from motivnet_bench.verdict import verdict_of

WIDTH_OF_A_PIPE = 120
MAX_FLIPS = 10


def print_on_terminal(content: RenderableType) -> None:
    """Writes to standard output, as wide as a report where there is no terminal."""
    Console(width=None if sys.stdout.isatty() else WIDTH_OF_A_PIPE, highlight=False).print(content)


def latency_table(result: LatencyResult) -> RenderableType:
    """The verdict, the rows with the figures that matter most, and the warnings."""
    columns = [(column.heading, column.brief) for column in (*speed_columns(result), *cost_columns()) if column.brief]
    table = Table(
        title=_title(result), title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 1, 0, 0)
    )
    table.add_column("candidate", no_wrap=True)
    for heading, _ in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in result.candidates:
        cells = [Text(cell(row.figures) if row.figures else DASH) for _, cell in columns]
        table.add_row(_name(row), *cells, style="bold" if row.default else None)
    errors = [Text(f"{row.name}: {row.error}", style="red") for row in result.candidates if row.error]
    notes = [Text(note, style="yellow") for note in footnotes(result)]
    return Group(table, *errors, *notes, Text(verdict_of(result), style="bold"))


def accuracy_table(result: AccuracyResult) -> RenderableType:
    """The figures of every runtime, and what the runtimes disagree about."""
    table = Table(title=Text(f"{result.artifact} on {result.dataset}"), title_justify="left", title_style="bold")
    table.add_column("figure")
    for entry in result.runtimes:
        table.add_column(Text(entry.runtime), justify="right")
    columns = [dict(_accuracy_cells(result, index)) for index in range(len(result.runtimes))]
    for figure in columns[0]:
        table.add_row(Text(figure), *(column[figure] for column in columns))
    return Group(table, *(Text(note, style="yellow") for note in _accuracy_notes(result)))


def _title(result: LatencyResult) -> Text:
    settings = result.settings
    return Text(
        f"{result.subject.name} ({result.subject.precision}), batch {settings.batch}, "
        f"{settings.threads} threads, {result.environment.processor}"
    )


def _name(row: CandidateResult) -> Text:
    notes = row_notes(row)
    return Text(f"{row.name} ({', '.join(notes)})" if notes else row.name)


def _accuracy_cells(result: AccuracyResult, index: int) -> list[tuple[str, str]]:
    figures = result.runtimes[index].figures
    recalls = [(f"recall {label}", _percent(value)) for label, value in figures.recall.items()]
    return [
        ("images", str(figures.images)),
        ("accuracy", _percent(figures.accuracy)),
        ("balanced accuracy", _percent(figures.balanced_accuracy)),
        ("macro F1", _percent(figures.macro_f1)),
        ("AUROC (macro, one against the rest)", DASH if figures.auroc is None else f"{figures.auroc:.4f}"),
        *recalls,
    ]


def _accuracy_notes(result: AccuracyResult) -> list[str]:
    notes = [f"not read: {name}: {reason}" for name, reason in result.unreadable.items()]
    notes += [f"left out: {count} ({reason})" for reason, count in result.skipped.items()]
    if absent := result.runtimes[0].figures.absent:
        notes.append(f"no image of {', '.join(absent)}: means are over the other classes")
    for flip in result.flips[:MAX_FLIPS]:
        named = ", ".join(f"{runtime} says {label}" for runtime, label in flip.predicted.items())
        notes.append(f"flip: {flip.image} ({flip.truth}): {named}")
    if len(result.flips) > MAX_FLIPS:
        notes.append(f"and {len(result.flips) - MAX_FLIPS} more flips; --json lists all")
    return notes


def _percent(value: float | None) -> str:
    return DASH if value is None else f"{value:.1%}"

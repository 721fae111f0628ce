"""A latency result as a table for a terminal, and how every result is printed there."""

from __future__ import annotations

import sys

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from motivnet_bench.columns import DASH, cost_columns, footnotes, row_notes, speed_columns
from motivnet_bench.result import CandidateResult, LatencyResult
from motivnet_bench.verdict import verdict_of

WIDTH_OF_A_PIPE = 120


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


def _title(result: LatencyResult) -> Text:
    settings = result.settings
    return Text(
        f"{result.subject.name} ({result.subject.precision}), batch {settings.batch}, "
        f"{settings.threads} threads, {result.environment.processor}"
    )


def _name(row: CandidateResult) -> Text:
    notes = row_notes(row)
    return Text(f"{row.name} ({', '.join(notes)})" if notes else row.name)

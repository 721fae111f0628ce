"""A latency result as a table for a terminal."""

from __future__ import annotations

from motivnet.terminal import Shown, TextTable, stacked, text
from motivnet_bench.latency.result import CandidateResult, LatencyResult
from motivnet_bench.report.columns import DASH, cost_columns, footnotes, row_notes, speed_columns
from motivnet_bench.report.summary import verdict_of


def latency_table(result: LatencyResult) -> Shown:
    """The verdict, the rows with the figures that matter most, and the warnings."""
    columns = [
        (column.heading, column.brief)
        for column in (*speed_columns(result), *cost_columns())
        if column.brief
    ]
    titles = ("candidate", *(f">{heading}" for heading, _ in columns))
    table = TextTable(titles=titles, title=_title(result), wrapped=False)
    for row in result.candidates:
        cells = [cell(row.figures) if row.figures else DASH for _, cell in columns]
        table.add_row(_name(row), *cells, bold=row.default)
    errors = [text(f"{row.name}: {row.error}", "red") for row in result.candidates if row.error]
    notes = [text(note, "yellow") for note in footnotes(result)]
    return stacked(table, *errors, *notes, text(verdict_of(result), "bold"))


def _title(result: LatencyResult) -> str:
    settings = result.settings
    return (
        f"{result.subject.name} ({result.subject.precision}), batch {settings.batch}, "
        f"{settings.threads} threads, {result.environment.processor}"
    )


def _name(row: CandidateResult) -> str:
    notes = row_notes(row)
    return f"{row.name} ({', '.join(notes)})" if notes else row.name

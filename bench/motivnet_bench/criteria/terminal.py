"""A result of the three criteria for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from motivnet_bench.criteria.result import CriteriaResult
from motivnet_bench.criteria.rows import (
    DATA_HEADINGS,
    STANDING_HEADINGS,
    data_notes,
    data_rows,
    model_facts,
    performance_notes,
    standing_rows,
    verdicts,
)


def criteria_table(result: CriteriaResult) -> RenderableType:
    """A short table for each criterion that was asked for, what to know of it, and the verdicts."""
    parts: list[RenderableType] = []
    for performance in result.performance:
        title = f"benchmark performance on {performance.dataset}"
        parts += [_table(title, STANDING_HEADINGS, standing_rows(performance)), *_notes(performance_notes(performance))]
    if result.model is not None:
        parts.append(_table("model similarity", ("fact", "value"), model_facts(result.model)))
    if result.data is not None:
        title = f"data similarity of {result.data.data.folder} and {result.data.reference.folder}"
        parts += [_table(title, DATA_HEADINGS, data_rows(result.data)), *_notes(data_notes(result.data))]
    return Group(*parts, *(Text(sentence, style="bold") for sentence in verdicts(result)))


def _table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=Text(title), title_justify="left", title_style="bold")
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place and len(headings) > 2 else "left")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _notes(texts: Iterable[str]) -> list[Text]:
    return [Text(text, style="yellow") for text in texts]

"""A result of the three criteria for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from motivnet.terminal import Shown, TextTable, stacked, text
from motivnet_bench.viability.result import CriteriaResult
from motivnet_bench.viability.rows import (
    DATA_HEADINGS,
    STANDING_HEADINGS,
    data_notes,
    data_rows,
    model_facts,
    performance_notes,
    standing_rows,
    verdicts,
)


def criteria_table(result: CriteriaResult) -> Shown:
    """A short table for each criterion that was asked for, what to know of it, and the verdicts."""
    parts: list[Shown] = []
    for performance in result.performance:
        title = f"benchmark performance on {performance.dataset}"
        parts += [
            _table(title, STANDING_HEADINGS, standing_rows(performance)),
            *_notes(performance_notes(performance)),
        ]
    if result.model is not None:
        parts.append(_table("model similarity", ("fact", "value"), model_facts(result.model)))
    if result.data is not None:
        title = f"data similarity of {result.data.data.folder} and {result.data.reference.folder}"
        parts += [
            _table(title, DATA_HEADINGS, data_rows(result.data)),
            *_notes(data_notes(result.data)),
        ]
    return stacked(*parts, *(text(sentence, "bold") for sentence in verdicts(result)))


def _table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> TextTable:
    of_numbers = ">" if len(headings) > 2 else ""
    titles = (headings[0], *(f"{of_numbers}{heading}" for heading in headings[1:]))
    table = TextTable(titles=titles, title=title, ruled=True)
    for row in rows:
        table.add_row(*row)
    return table


def _notes(notes: Iterable[str]) -> list[Shown]:
    return [text(note, "yellow") for note in notes]

"""An accuracy result as a table for a terminal."""

from __future__ import annotations

from motivnet.terminal import Shown, TextTable, stacked, text
from motivnet_bench.accuracy_result import AccuracyResult
from motivnet_bench.report.figure_rows import absent_note, figure_rows, published_note

MAX_FLIPS = 10


def accuracy_table(result: AccuracyResult) -> Shown:
    """The figures of every runtime beside the published ones, and what the runtimes disagree about."""
    part = f", {result.part} part" if result.part else ""
    names = (
        *(entry.runtime for entry in result.runtimes),
        *(each.title for each in result.published),
    )
    titles = ("figure", *(f">{name}" for name in names))
    table = TextTable(
        titles=titles, title=f"{result.artifact} on {result.dataset}{part}", ruled=True
    )
    for row in figure_rows([entry.figures for entry in result.runtimes], result.published):
        table.add_row(*row)
    return stacked(table, *(text(note, "yellow") for note in _accuracy_notes(result)))


def _accuracy_notes(result: AccuracyResult) -> list[str]:
    notes = [f"not read: {name}: {reason}" for name, reason in result.unreadable.items()]
    notes += [f"left out: {count} ({reason})" for reason, count in result.skipped.items()]
    notes += [*absent_note(result.runtimes[0].figures), published_note(result.published)]
    for flip in result.flips[:MAX_FLIPS]:
        named = ", ".join(f"{runtime} says {label}" for runtime, label in flip.predicted.items())
        notes.append(f"flip: {flip.image} ({flip.truth}): {named}")
    if len(result.flips) > MAX_FLIPS:
        notes.append(f"and {len(result.flips) - MAX_FLIPS} more flips; --json lists all")
    return notes

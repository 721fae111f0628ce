"""A report for a terminal: its overview, and the summary at the end."""

from __future__ import annotations

from motivnet.terminal import Renderable, TextTable, stacked, text
from motivnet_bench.report.document import List, Note, Report, Table, TextBlock

STYLES = {"plain": "", "warning": "yellow", "error": "red"}


def terminal_from_report(report: Report) -> Renderable:
    """Return a report for ``motivnet.terminal.show``."""
    return stacked(
        *(_block(block) for block in report.overview),
        *(text(sentence, "bold") for sentence in report.summary),
    )


def _block(block: TextBlock) -> Renderable:
    match block:
        case Note():
            return text(block.text, STYLES[block.kind])
        case Table():
            return _table(block)
        case List():
            result = TextTable(titles=("detail", "value"), title=block.title, ruled=True)
            for name, value in block.details:
                result.add_row(name, value)
            return result


def _table(table: Table) -> TextTable:
    first, *numbers = table.headings
    result = TextTable(
        titles=(first, *(f">{heading}" for heading in numbers)),
        title=table.title,
        ruled=not table.compact,
        wrapped=not table.compact,
    )
    for row in table.rows:
        marks = f" ({', '.join(row.marks)})" if row.marks else ""
        name, *cells = row.cells
        result.add_row(f"{name}{marks}", *cells, bold=row.kind == "default")
    return result

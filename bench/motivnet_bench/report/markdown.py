"""A latency result as Markdown, for a pull request or a wiki."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from motivnet.printable import one_line
from motivnet_bench.latency.result import CandidateResult, LatencyResult
from motivnet_bench.report.columns import (
    DASH,
    Column,
    cost_columns,
    footnotes,
    row_notes,
    speed_columns,
)
from motivnet_bench.report.facts import (
    METHOD,
    PARITY_HEADINGS,
    environment_facts,
    parity_rows,
    parity_sentence,
    subject_facts,
)
from motivnet_bench.report.page import Pairs
from motivnet_bench.report.summary import verdict_of


def markdown_from_result(result: LatencyResult) -> str:
    """The whole report but for its plots."""
    failed = [
        f"- {escape(row.name)}: {escape(row.error)}" for row in result.candidates if row.error
    ]
    notes = [f"- {escape(note)}" for note in footnotes(result)]
    parity = [[escape(cell) for cell in row] for row in parity_rows(result)]
    blocks = (
        f"# {escape(result.subject.name)}: latency",
        f"**{escape(verdict_of(result))}**",
        _latency_table(result, speed_columns(result)),
        _latency_table(result, cost_columns()),
        "\n".join((*failed, *notes)),
        METHOD,
        f"## Measured\n\n{_pairs(subject_facts(result))}",
        f"## Environment\n\n{_pairs(environment_facts(result))}",
        f"## Parity\n\n{escape(parity_sentence(result))}",
        _table(PARITY_HEADINGS, parity) if parity else "",
        f"## Repeat\n\n{_code_block(result.command)}" if result.command else "",
    )
    return "\n\n".join(block for block in blocks if block) + "\n"


def escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_\[\]<>|#~&$])", r"\\\1", one_line(text))


def _latency_table(result: LatencyResult, columns: Sequence[Column]) -> str:
    rows = [
        [
            _name(row),
            *(escape(column.cell(row.figures)) if row.figures else DASH for column in columns),
        ]
        for row in result.candidates
    ]
    return _table(["candidate", *(column.heading for column in columns)], rows)


def _name(row: CandidateResult) -> str:
    notes = row_notes(row)
    name = escape(row.name)
    return (
        f"**{name}** ({', '.join(notes)})"
        if row.default
        else f"{name} ({', '.join(notes)})"
        if notes
        else name
    )


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---", *("---:" for _ in headings[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _pairs(pairs: Pairs) -> str:
    return "\n".join(f"- {name}: {escape(value)}" for name, value in pairs)


def _code_block(command: str) -> str:
    """Indented, so that no run of backticks in the command can end it."""
    return f"    {one_line(command)}"

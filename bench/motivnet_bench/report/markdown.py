"""A report as Markdown, for a pull request or a wiki; without its plots."""

from __future__ import annotations

import re
from collections.abc import Sequence

from motivnet.printable import one_line
from motivnet_bench.report import document


def markdown_from_report(report: document.Report) -> str:
    """Return the whole report but for its plots; every text is escaped."""
    parts = [f"# {escape(report.title)}", *(f"**{escape(text)}**" for text in report.summary)]
    for section in report.sections:
        blocks = [text for block in section.blocks if (text := _block(block))]
        if blocks:
            parts += [f"## {escape(section.title)}", *blocks]
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_\[\]<>|#~&$])", r"\\\1", one_line(text))


def _block(block: document.Block) -> str:
    match block:
        case document.Table():
            return _table(block)
        case document.List():
            lines = (f"- {escape(name)}: {escape(value)}" for name, value in block.details)
            return "\n".join(lines)
        case document.Note():
            return f"{'' if block.kind == 'plain' else '- '}{escape(block.text)}"
        case document.CommandLine():
            return _fenced(one_line(block.text))
        case document.Beside():
            return _block(block.left)
        case document.Plot():
            return ""


def _fenced(line: str) -> str:
    """Return a line as code; its fence is longer than any backticks in it, which cannot end it."""
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", line)), 0)
    return f"{fence}\n{line}\n{fence}"


def _table(table: document.Table) -> str:
    title = f"### {escape(table.title)}\n\n" if table.title else ""
    lines = [
        [escape(heading) for heading in table.headings],
        ["---", *("---:" for _ in table.headings[1:])],
        *(_cells(row) for row in table.rows),
    ]
    return title + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(row: document.Row) -> Sequence[str]:
    first, *others = map(escape, row.cells)
    name = f"**{first}**" if row.kind == "default" else first
    marks = f" ({', '.join(row.marks)})" if row.marks else ""
    return [f"{name}{marks}", *others]

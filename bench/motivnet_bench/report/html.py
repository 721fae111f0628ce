"""A report as one HTML file that needs nothing beside it.

The page forbids itself scripts and requests, and every text in it is escaped.
"""

from __future__ import annotations

import base64
import html
import itertools
from importlib.resources import files
from string import Template

from motivnet.printable import printable
from motivnet_bench.report import document


def html_from_report(report: document.Report) -> str:
    """Return the page: summary, tiles, and the sections."""
    summary = (f'<p class="summary">{escape(text)}</p>\n' for text in report.summary)
    tiles = "".join(_tile(name, value) for name, value in report.tiles)
    sections = "".join(
        f'<div class="pair">\n{"".join(map(_section, group))}</div>\n'
        if narrow
        else "".join(map(_section, group))
        for narrow, group in itertools.groupby(report.sections, key=lambda each: each.narrow)
    )
    template = files("motivnet_bench.report").joinpath("page.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        title=escape(report.title),
        body=f'{"".join(summary)}<div class="tiles">{tiles}</div>\n{sections}',
    )


def escape(text: str) -> str:
    """Return a text as HTML: printable, short, and without markup."""
    return html.escape(printable(text))


def _section(section: document.Section) -> str:
    state = ""
    if section.state is not None:
        state = f' <span class="state {section.state}">{section.state}</span>'
    blocks = "".join(f"{_block(block)}\n" for block in section.blocks)
    return f"<section>\n<h2>{escape(section.title)}{state}</h2>\n{blocks}</section>\n"


def _block(block: document.Block) -> str:
    match block:
        case document.Table():
            return _table(block)
        case document.List():
            pairs = block.details
            lines = (f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in pairs)
            return f"<dl>{''.join(lines)}</dl>"
        case document.Plot():
            return _plot(block)
        case document.Note():
            return f'<p class="note {block.kind}">{escape(block.text)}</p>'
        case document.CommandLine():
            return f"<pre>{escape(block.text)}</pre>"
        case document.Beside():
            left, right = _block(block.left), _block(block.right)
            return f'<div class="halves"><div>{left}</div><div>{right}</div></div>'


def _plot(plot: document.Plot) -> str:
    image = f'<img alt="{escape(plot.description)}" src="{_address(plot.draw())}">'
    if not plot.versions:
        return image
    sources = "".join(
        f'<source media="{escape(query)}" srcset="{_address(draw())}">'
        for query, draw in plot.versions
    )
    return f"<picture>{sources}{image}</picture>"


def _address(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def _table(table: document.Table) -> str:
    title = f'<h2 class="next">{escape(table.title)}</h2>' if table.title else ""
    heads = "".join(
        f'<th title="{escape(meaning)}">{escape(heading)}</th>'
        for heading, meaning in zip(table.headings, table.meanings or table.headings, strict=True)
    )
    rows = "".join(map(_row, table.rows))
    return (
        f'{title}<div class="scroll{" tall" if table.tall else ""}"><table>'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _row(row: document.Row) -> str:
    marks = "".join(f'<span class="badge">{escape(mark)}</span>' for mark in row.marks)
    first, *others = row.cells
    cells = "".join(f"<td>{escape(cell)}</td>" for cell in others)
    return f'<tr class="{row.kind}"><th scope="row">{escape(first)}{marks}</th>{cells}</tr>'


def _tile(name: str, value: str) -> str:
    """Return a large number; what follows it in brackets is small."""
    value, _, spread = value.partition(" (")
    small = f"<small>{escape(spread.removesuffix(')'))}</small>" if spread else ""
    return f'<div class="tile"><span>{escape(name)}</span><b>{escape(value)}</b>{small}</div>'

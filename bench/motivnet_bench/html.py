"""A latency result as one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template

from motivnet_bench.columns import DASH, Column, cost_columns, footnotes, row_notes, speed_columns
from motivnet_bench.facts import (
    METHOD,
    PARITY_HEADINGS,
    Pairs,
    environment_facts,
    parity_rows,
    parity_sentence,
    subject_facts,
)
from motivnet_bench.plots import latency_plot, speedup_plot
from motivnet_bench.result import CandidateResult, LatencyResult
from motivnet_bench.verdict import verdict_of

TEMPLATE = "report_template.html"
_NO_TILE = ("p95", "p99")


def html_from_result(result: LatencyResult) -> str:
    """The report: verdict, plots, table, machine, parity and the command that repeats it.

    Every text of the result is escaped; the page forbids itself scripts and requests.
    """
    template = Template(files("motivnet_bench").joinpath(TEMPLATE).read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(f"{result.subject.name}: latency"),
        verdict=escape(verdict_of(result)),
        tiles=_tiles(result),
        speedup_plot=_data_uri(speedup_plot(result)),
        latency_plot=_data_uri(latency_plot(result)),
        speed_table=_latency_table(result, speed_columns(result)),
        cost_table=_latency_table(result, cost_columns()),
        notes=_list([f"{row.name}: {row.error}" for row in result.candidates if row.error], "error")
        + _list(footnotes(result), "warning"),
        method=escape(METHOD),
        subject=_definitions(subject_facts(result)),
        environment=_definitions(environment_facts(result)),
        parity_state="passed" if result.parity.passed else "failed",
        parity=escape(parity_sentence(result)),
        parity_table=_table(PARITY_HEADINGS, parity_rows(result)),
        parity_notes=_list(result.parity.warnings, "warning"),
        command=escape(result.command or "motivnet-bench"),
    )


def _tiles(result: LatencyResult) -> str:
    """The default runtime's figures, large."""
    row = result.default
    if row is None or row.figures is None:
        return ""
    columns = [column for column in (*speed_columns(result), *cost_columns()) if column.heading not in _NO_TILE]
    return "".join(_tile(column.heading, column.cell(row.figures)) for column in columns if column.brief)


def _tile(heading: str, text: str) -> str:
    value, _, spread = text.partition(" (")
    small = f"<small>{escape(spread.removesuffix(')'))}</small>" if spread else ""
    return f'<div class="tile"><span>{escape(heading)}</span><b>{escape(value)}</b>{small}</div>'


def _latency_table(result: LatencyResult, columns: Sequence[Column]) -> str:
    heads = "".join(f'<th title="{escape(column.meaning)}">{escape(column.heading)}</th>' for column in columns)
    body = "".join(_latency_row(row, columns) for row in result.candidates)
    return f"<table><thead><tr><th>candidate</th>{heads}</tr></thead><tbody>{body}</tbody></table>"


def _latency_row(row: CandidateResult, columns: Sequence[Column]) -> str:
    badges = "".join(f'<span class="badge">{escape(note)}</span>' for note in row_notes(row))
    texts = [column.cell(row.figures) for column in columns] if row.figures else [DASH] * len(columns)
    cells = "".join(f"<td>{escape(text)}</td>" for text in texts)
    kind = "default" if row.default else "failed" if row.error else row.role
    return f'<tr class="{kind}"><th scope="row">{escape(row.name)}{badges}</th>{cells}</tr>'


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _definitions(pairs: Pairs) -> str:
    return "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in pairs)


def _list(texts: Iterable[str], kind: str) -> str:
    return "".join(f'<p class="note {kind}">{escape(text)}</p>' for text in texts)


def _data_uri(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"

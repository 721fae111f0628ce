"""A latency result as one HTML file that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence

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
from motivnet_bench.report.page import data_uri, definitions, escape, notes, page, table, tile
from motivnet_bench.report.plots import latency_plot, speedup_plot
from motivnet_bench.report.summary import verdict_of

TEMPLATE = "latency_template.html"
_NO_TILE = ("p95", "p99")


def html_from_result(result: LatencyResult) -> str:
    """The report: verdict, plots, table, machine, parity and the command that repeats it.

    Every text of the result is escaped.
    """
    return page(
        f"{result.subject.name}: latency",
        TEMPLATE,
        verdict=escape(verdict_of(result)),
        tiles=_tiles(result),
        speedup_plot=data_uri(speedup_plot(result)),
        latency_plot=data_uri(latency_plot(result)),
        speed_table=_latency_table(result, speed_columns(result)),
        cost_table=_latency_table(result, cost_columns()),
        notes=notes([f"{row.name}: {row.error}" for row in result.candidates if row.error], "error")
        + notes(footnotes(result), "warning"),
        method=escape(METHOD),
        subject=definitions(subject_facts(result)),
        environment=definitions(environment_facts(result)),
        parity_state="passed" if result.parity.passed else "failed",
        parity=escape(parity_sentence(result)),
        parity_table=table(PARITY_HEADINGS, parity_rows(result)),
        parity_notes=notes(result.parity.warnings, "warning"),
        command=escape(result.command or "motivnet-bench"),
    )


def _tiles(result: LatencyResult) -> str:
    """The default runtime's figures, large."""
    row = result.default
    if row is None or row.figures is None:
        return ""
    columns = [
        column
        for column in (*speed_columns(result), *cost_columns())
        if column.heading not in _NO_TILE
    ]
    return "".join(
        tile(column.heading, column.cell(row.figures)) for column in columns if column.brief
    )


def _latency_table(result: LatencyResult, columns: Sequence[Column]) -> str:
    heads = "".join(
        f'<th title="{escape(column.meaning)}">{escape(column.heading)}</th>' for column in columns
    )
    body = "".join(_latency_row(row, columns) for row in result.candidates)
    return f"<table><thead><tr><th>candidate</th>{heads}</tr></thead><tbody>{body}</tbody></table>"


def _latency_row(row: CandidateResult, columns: Sequence[Column]) -> str:
    badges = "".join(f'<span class="badge">{escape(note)}</span>' for note in row_notes(row))
    texts = (
        [column.cell(row.figures) for column in columns] if row.figures else [DASH] * len(columns)
    )
    cells = "".join(f"<td>{escape(text)}</td>" for text in texts)
    kind = "default" if row.default else "failed" if row.error else row.role
    return f'<tr class="{kind}"><th scope="row">{escape(row.name)}{badges}</th>{cells}</tr>'

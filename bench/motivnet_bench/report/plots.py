"""The latency report's two plots, as SVG with no outside reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from motivnet.printable import drawn_text
from motivnet_bench.latency.result import CandidateResult, Figures, LatencyResult
from motivnet_bench.latency.statistics import Ratio
from motivnet_bench.report.columns import BASELINE_NAMES, TIMES
from motivnet_bench.report.plot_style import (
    ACCENT,
    BASELINE,
    GRID,
    INK,
    RUNTIME,
    drawing_style,
    new_axes,
    svg_from_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW_HEIGHT = 0.46
LOG_FROM = 8.0
"""Latencies further apart than this are drawn on a logarithmic axis, where the fast ones keep their shape."""

MAX_REACH = 1.25
"""The speed-up axis ends at this many times the largest median: one disturbed round must not flatten the bars."""


def latency_plot(result: LatencyResult) -> bytes:
    """SVG of every candidate's latencies: median, middle half, and the 1st to the 99th percentile."""
    rows = _measured(result)
    with drawing_style():
        figure, axes = _canvas(rows)
        medians = [figures.latency.p50 for _, figures in rows]
        unit, scale = ("seconds", 1.0) if max(medians, default=0.0) >= 1 else ("milliseconds", 1e3)
        for place, (row, figures) in enumerate(rows):
            _draw_latencies(
                axes, place, [scale * value for value in figures.latency.quantiles], _colour(row)
            )
        if medians and max(medians) > LOG_FROM * min(medians):
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter("")
        else:
            axes.set_xlim(left=0)
        axes.set_xlabel(
            f"{unit} a call (dot: median, bar: middle half, line: 1st to 99th percentile)"
        )
        return svg_from_figure(figure)


def speedup_plot(result: LatencyResult) -> bytes:
    """SVG of the speed-ups over PyTorch FP32, with the range over the rounds."""
    rows = [
        (row, figures.ratio_to_fp32) for row, figures in _measured(result) if figures.ratio_to_fp32
    ]
    with drawing_style():
        figure, axes = _canvas(rows)
        end = MAX_REACH * max((ratio.median for _, ratio in rows), default=1.0)
        for place, (row, ratio) in enumerate(rows):
            _draw_speedup(axes, place, ratio, _colour(row), end=end)
        axes.axvline(1.0, color=INK, linewidth=0.8, linestyle=(0, (3, 3)), zorder=0)
        axes.set_xlim(0, 1.12 * end)
        axes.set_xlabel("times as fast as PyTorch FP32 (median over rounds, with the range)")
        return svg_from_figure(figure)


def _measured(result: LatencyResult) -> list[tuple[CandidateResult, Figures]]:
    return [(row, row.figures) for row in result.candidates if row.figures is not None]


def _canvas(rows: Sequence[tuple[CandidateResult, object]]) -> tuple[Figure, Axes]:
    figure, axes = new_axes(height=0.8 + ROW_HEIGHT * max(1, len(rows)))
    axes.set_yticks(
        range(len(rows)), [drawn_text(BASELINE_NAMES.get(row.name, row.name)) for row, _ in rows]
    )
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.spines["left"].set_visible(False)
    return figure, axes


def _draw_latencies(axes: Axes, place: int, quantiles: Sequence[float], colour: str) -> None:
    axes.plot(
        [quantiles[1], quantiles[99]],
        [place, place],
        color=colour,
        linewidth=1.6,
        solid_capstyle="round",
    )
    axes.plot(
        [quantiles[25], quantiles[75]],
        [place, place],
        color=colour,
        linewidth=9,
        solid_capstyle="butt",
    )
    axes.plot(
        quantiles[50],
        place,
        "o",
        color="white",
        markeredgecolor=INK,
        markersize=5.5,
        markeredgewidth=1.2,
    )


def _draw_speedup(axes: Axes, place: int, ratio: Ratio, colour: str, *, end: float) -> None:
    reach = min(ratio.largest, end)
    axes.barh(place, ratio.median, height=0.56, color=colour)
    axes.plot([ratio.smallest, reach], [place, place], color=INK, linewidth=1.1)
    axes.annotate(
        f"{ratio.median:.2f}{TIMES}",
        (reach, place),
        xytext=(6, 0),
        textcoords="offset points",
        verticalalignment="center",
        fontweight="bold",
    )


def _colour(row: CandidateResult) -> str:
    if row.default:
        return ACCENT
    return RUNTIME if row.role == "runtime" else BASELINE

"""The plots of the reports, as SVG without outside references; equal values give equal bytes."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from motivnet.errors import MissingDependencyError
from motivnet.printable import drawn_text
from motivnet_bench.intervals import Estimate
from motivnet_bench.latency.result import Speedup

try:
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
except ImportError as error:
    raise MissingDependencyError("matplotlib", extra="bench") from error

Shade: TypeAlias = Literal["accent", "normal", "muted"]

PointSet: TypeAlias = tuple[str, Shade, Sequence[tuple[float, float]]]
"""A name, a shade, and points."""

TIMES = "\N{MULTIPLICATION SIGN}"

INK, GRID = "#1f2933", "#e4e7eb"
DARK_INK, DARK_GRID = "#e4e7eb", "#33414e"
COLOURS: dict[Shade, str] = {"accent": "#0f766e", "normal": "#5eaaa2", "muted": "#b6bfc9"}
DARK_COLOURS: dict[Shade, str] = {"accent": "#3cc4b2", "normal": "#2a9d8f", "muted": "#7b8794"}


def latency_plot(rows: Sequence[tuple[str, Shade, Sequence[float]]]) -> bytes:
    """Draw latencies: median, middle half, and the 1st to the 99th percentile.

    Args:
        rows: Per candidate its name, its shade, and its quantiles in seconds.
    """
    with style():
        figure, axes = _bar_axes([name for name, _, _ in rows])
        medians = [quantiles[50] for _, _, quantiles in rows]
        unit, scale = ("seconds", 1.0) if max(medians, default=0.0) >= 1 else ("milliseconds", 1e3)
        for place, (_, shade, quantiles) in enumerate(rows):
            colour, q = COLOURS[shade], [scale * value for value in quantiles]
            axes.plot([q[1], q[99]], [place] * 2, color=colour, lw=1.6, solid_capstyle="round")
            axes.plot([q[25], q[75]], [place] * 2, color=colour, lw=9, solid_capstyle="butt")
            axes.plot(q[50], place, "o", color="white", mec=INK, ms=5.5, mew=1.2)
        if medians and max(medians) > 8 * min(medians):  # short ones stay visible
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter("")
        else:
            axes.set_xlim(left=0)
        axes.set_xlabel(
            f"{unit} per call (dot: median, bar: middle half, line: 1st to 99th percentile)"
        )
        return svg_of(figure)


def speedup_plot(rows: Sequence[tuple[str, Shade, Speedup]], *, baseline: str) -> bytes:
    """Draw the speed-ups over a baseline with the range over the rounds.

    A range that is much longer than the bars is cut, ends in an arrow and is given as text.

    Args:
        rows: Per candidate its name, its shade, and its speed-up.
    """
    with style():
        figure, axes = _bar_axes([name for name, _, _ in rows])
        # One disturbed round must not flatten the bars.
        end = 1.25 * max((ratio.median for _, _, ratio in rows), default=1.0)
        for place, (_, shade, ratio) in enumerate(rows):
            reach, label = min(ratio.largest, end), f"{ratio.median:.2f}{TIMES}"
            axes.barh(place, ratio.median, height=0.56, color=COLOURS[shade])
            axes.plot([ratio.smallest, reach], [place, place], color=INK, linewidth=1.1)
            if ratio.largest > end:
                axes.plot(end, place, ">", color=INK, markersize=4)
                label += f" (to {ratio.largest:.3g}{TIMES})"
            axes.annotate(
                label,
                (reach, place),
                xytext=(6, 0),
                textcoords="offset points",
                verticalalignment="center",
                fontweight="bold",
            )
        axes.axvline(1.0, color=INK, linewidth=0.8, linestyle=(0, (3, 3)), zorder=0)
        cut = any(ratio.largest > end for _, _, ratio in rows)
        axes.set_xlim(0, (1.5 if cut else 1.12) * end)
        axes.set_xlabel(f"times as fast as {baseline} (median over rounds, with the range)")
        return svg_of(figure)


def interval_plot(
    rows: Sequence[tuple[str, float, float, float, Shade]],
    *,
    label: str,
    narrow: bool = False,
    dark: bool = False,
) -> bytes:
    """Draw values in percent with their intervals: names, values, lower and upper ends.

    Args:
        narrow: Draw for a screen of 320 pixels.
        dark: Draw for a dark page.
    """
    ink, grid, colours = (DARK_INK, DARK_GRID, DARK_COLOURS) if dark else (INK, GRID, COLOURS)
    with style(ink=ink, size=10 if narrow else 9):
        figure, axes = _bar_axes([name for name, *_ in rows])
        figure.patch.set_alpha(0)  # of the page's colour
        axes.patch.set_alpha(0)
        if narrow:
            figure.set_size_inches(3.5, 0.9 + 0.4 * len(rows))
        axes.grid(axis="x", color=grid)
        axes.spines["bottom"].set_color(ink)
        for place, (_, value, low, high, shade) in enumerate(rows):
            axes.plot([low, high], [place, place], color=colours[shade], linewidth=2, alpha=0.6)
            axes.plot([value], [place], "o", color=colours[shade], markersize=6)
        axes.set_xlabel(label)
        return svg_of(figure)


def strength_plot(
    curves: Mapping[tuple[str, str], Sequence[tuple[str, Estimate]]],
    *,
    level: float,
    measure: str = "accuracy",
    columns: int = 4,
) -> bytes:
    """Draw values in percent by strength, in a panel per name and unit.

    Args:
        level: The value without any.
        measure: What the values are.
        columns: Panels beside each other at most.
    """
    columns = min(columns, len(curves))
    rows = -(-len(curves) // columns)
    with style():
        figure = Figure(figsize=(2.2 * columns, 2.0 * rows + 0.4), layout="constrained")
        panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
        for axes, ((name, unit), points) in zip(panels, curves.items(), strict=False):
            places = range(len(points))
            values = [estimate.value for _, estimate in points]
            low = [estimate.low for _, estimate in points]
            high = [estimate.high for _, estimate in points]
            axes.axhline(level, color=COLOURS["muted"], linewidth=1, linestyle="--")
            axes.fill_between(places, low, high, color=COLOURS["accent"], alpha=0.15, linewidth=0)
            axes.plot(places, values, "o-", color=COLOURS["accent"], markersize=4)
            axes.set_xticks(places, [drawn_text(text) for text, _ in points])
            axes.set_title(drawn_text(name), fontsize=9)
            axes.set_xlabel(drawn_text(unit), fontsize=8)
            axes.set_ylim(0, 102)
            axes.grid(axis="y", color=GRID, linewidth=0.8)
            for side in ("top", "right"):
                axes.spines[side].set_visible(False)
        for axes in panels[len(curves) :]:
            axes.set_visible(False)
        figure.supylabel(f"{measure} in percent", fontsize=9)
        return svg_of(figure)


def change_plot(changes: Sequence[float | None]) -> bytes:
    """Draw the relative change of each common weight, in the order of the network."""
    moved = [(place, change) for place, change in enumerate(changes) if change]
    with style():
        figure, axes = _axes()
        places, values = [place for place, _ in moved], [value for _, value in moved]
        axes.plot(places, values, ".", color=COLOURS["accent"], markersize=5)
        axes.set_xlim(-1, max(len(changes), 1))
        if moved:
            axes.set_yscale("log")
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.set_xlabel("common weight, from the first layer to the last")
        axes.set_ylabel("relative change")
        still = len(changes) - len(moved)
        axes.set_title(
            f"{still} of {len(changes)} weights did not move, or moved from zero", fontsize=9
        )
        return svg_of(figure)


def points_plot(sets: Sequence[PointSet]) -> bytes:
    """Draw sets of embeddings in the plane of their two largest principal components."""
    with style():
        figure, axes = _axes()
        for name, shade, points in sets:
            across, up = zip(*points, strict=True)
            marker, label = "." if shade == "accent" else "o", drawn_text(name)
            axes.plot(across, up, marker, color=COLOURS[shade], ms=4, alpha=0.7, label=label)
        axes.grid(color=GRID, linewidth=0.8)
        axes.set_xlabel("first principal component of both")
        axes.set_ylabel("second")
        axes.legend(frameon=False)
        return svg_of(figure)


def style(*, ink: str = INK, size: float = 9) -> contextlib.AbstractContextManager[None]:
    """Return the settings of a plot, inside a ``with``."""
    return mpl.rc_context(
        {
            "svg.hashsalt": "motivnet-bench",  # the same result gives the same file
            "font.family": "DejaVu Sans",
            "font.size": size,
            "text.color": ink,
            "axes.labelcolor": ink,
            "xtick.color": ink,
            "ytick.color": ink,
        }
    )


def _axes(height: float = 3.4) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7.0, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _bar_axes(names: Sequence[str]) -> tuple[Figure, Axes]:
    figure, axes = _axes(height=0.8 + 0.46 * max(1, len(names)))
    axes.set_yticks(range(len(names)), [drawn_text(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.spines["left"].set_visible(False)
    return figure, axes


def svg_of(figure: Figure) -> bytes:
    """Return a figure as SVG; equal figures give equal bytes."""
    buffer = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]
    return buffer.getvalue()

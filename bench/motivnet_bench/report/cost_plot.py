"""The curve of an optimisation: accuracy against the time of an image, on a logarithmic axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from motivnet_bench.report.plots import style, svg_of

PointKind = Literal["full", "size", "tokens", "student"]

_MARKERS: dict[PointKind, tuple[str, str]] = {
    "full": ("s", "full model"),
    "size": ("o", "smaller image"),
    "tokens": ("^", "some of the tokens"),
    "student": ("D", "student"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CostPoint:
    """A point of the curve.

    ``accuracy`` with the ends of its interval ``low`` and ``high``, and ``before`` a refit, are in
    percent. ``label`` is written beside it, ``note`` in bold.
    """

    kind: PointKind
    milliseconds: float
    accuracy: float
    low: float
    high: float
    label: str
    note: str = ""
    is_front: bool = False
    before: float | None = None


@dataclass(frozen=True, slots=True)
class _Look:
    """Colours of a page, which is light or dark."""

    page: str
    ink: str
    grid: str
    accent: str
    muted: str


_LIGHT = _Look(page="#ffffff", ink="#1f2933", grid="#e4e7eb", accent="#0f766e", muted="#7b8794")
_DARK = _Look(page="#1b242c", ink="#e4e7eb", grid="#33414e", accent="#3cc4b2", muted="#9aa8b5")


def cost_plot(
    points: Sequence[CostPoint],
    *,
    limit: float | None,
    measure: str,
    narrow: bool = False,
    dark: bool = False,
) -> bytes:
    """Draw the points with their intervals, the front as a line, and the accuracy to be kept.

    Args:
        limit: The least accuracy that is allowed, in percent.
        measure: What the vertical axis shows, such as ``accuracy``.
        narrow: Draw for a screen of 320 pixels: without the labels of most points.
        dark: Draw for a dark page.
    """
    look = _DARK if dark else _LIGHT
    with style(ink=look.ink, size=10.5 if narrow else 9.5):
        figure = Figure(
            figsize=(3.5, 4.2) if narrow else (9.2, 4.6),
            layout="constrained",
            facecolor=look.page,
        )
        axes = figure.add_subplot(facecolor=look.page)
        _draw_frame(axes, look, measure)
        _draw_front(axes, points, look)
        for kind in _MARKERS:
            _draw_kind(axes, [each for each in points if each.kind == kind], kind, look)
        _draw_before(axes, points, look)
        if limit is not None:
            axes.axhline(limit, color=look.muted, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
            axes.annotate(
                "allowed",
                (0, limit),
                xycoords=("axes fraction", "data"),
                xytext=(4, 3),
                textcoords="offset points",
                color=look.muted,
            )
        _draw_labels(axes, points, look, narrow=narrow)
        _limit_height(axes, points)
        _scale_costs(axes, [each.milliseconds for each in points])
        axes.legend(
            frameon=False,
            loc="lower right",
            fontsize=9 if narrow else 8.5,
            labelcolor=look.ink,
            handletextpad=0.4,
        )
        return svg_of(figure)


def _draw_frame(axes: Axes, look: _Look, measure: str) -> None:
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(look.muted)
    axes.tick_params(which="both", color=look.muted)
    axes.grid(color=look.grid, linewidth=0.8)
    axes.set_xlabel("milliseconds per image, logarithmic")
    axes.set_ylabel(f"{measure} in %")


def _draw_front(axes: Axes, points: Sequence[CostPoint], look: _Look) -> None:
    front = sorted((each.milliseconds, each.accuracy) for each in points if each.is_front)
    if len(front) > 1:
        across, up = zip(*front, strict=True)
        axes.plot(across, up, color=look.accent, linewidth=1.6, alpha=0.55, zorder=2)


def _draw_kind(axes: Axes, points: Sequence[CostPoint], kind: PointKind, look: _Look) -> None:
    marker, name = _MARKERS[kind]
    for number, each in enumerate(points):
        colour = look.accent if each.is_front else look.muted
        axes.errorbar(
            each.milliseconds,
            each.accuracy,
            yerr=[[each.accuracy - each.low], [each.high - each.accuracy]],
            fmt=marker,
            color=colour,
            ecolor=colour,
            elinewidth=1.1,
            capsize=2.5,
            markersize=9 if each.note else 6,
            markeredgecolor=look.ink if each.note else colour,
            markeredgewidth=1.6 if each.note else 0.8,
            label=name if number == 0 else None,
            zorder=4 if each.note else 3,
        )


def _draw_before(axes: Axes, points: Sequence[CostPoint], look: _Look) -> None:
    """Draw where the points were before the refit, with a line to where they are."""
    named = False
    for each in points:
        if each.before is None or each.before >= each.low:
            continue
        axes.plot(
            [each.milliseconds] * 2,
            [each.before, each.low],
            ":",
            color=look.muted,
            lw=0.9,
            zorder=1,
        )
        axes.plot(
            each.milliseconds,
            each.before,
            "x",
            color=look.muted,
            markersize=5,
            label=None if named else "before the refit",
            zorder=2,
        )
        named = True


def _draw_labels(axes: Axes, points: Sequence[CostPoint], look: _Look, *, narrow: bool) -> None:
    for each in points:
        if not each.note and (narrow or not (each.is_front or each.kind == "full")):
            continue
        text = f"{each.note}: {each.label}" if each.note and not narrow else each.note or each.label
        axes.annotate(
            text,
            (each.milliseconds, each.high if each.note else each.low),
            xytext=(0, 5 if each.note else -13),
            textcoords="offset points",
            ha="center",
            fontsize=9 if each.note else 7.5,
            fontweight="bold" if each.note else "normal",
            color=look.ink if each.note else look.muted,
            annotation_clip=False,
            path_effects=[withStroke(linewidth=2.5, foreground=look.page)],
            zorder=5,
        )


def _limit_height(axes: Axes, points: Sequence[CostPoint]) -> None:
    """Keep the intervals readable: where a point was before its refit may lie far below them."""
    low, high = min(each.low for each in points), max(each.high for each in points)
    margin = max(high - low, 1.0)
    before = min((each.before for each in points if each.before is not None), default=low)
    axes.set_ylim(max(low - 0.35 * margin, min(before, low) - 0.12 * margin), high + 0.14 * margin)


def _scale_costs(axes: Axes, costs: Sequence[float]) -> None:
    axes.set_xscale("log")
    axes.set_xlim(min(costs) / 1.25, max(costs) * 1.35)
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())

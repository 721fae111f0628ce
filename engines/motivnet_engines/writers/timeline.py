"""A picture of the emotions over time: one panel per face, one band per emotion."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from motivnet.errors import MissingDependencyError
from motivnet.files import atomic_path
from motivnet.prediction import Prediction
from motivnet.printable import drawn_text
from motivnet_engines.video.results import FrameResult
from motivnet_engines.writers.drawing import colour_of

try:
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import to_rgb
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
    from matplotlib.textpath import TextPath
    from matplotlib.ticker import FuncFormatter, MultipleLocator, PercentFormatter
except ImportError as error:
    raise MissingDependencyError("matplotlib", extra="video") from error

_Colour: TypeAlias = tuple[float, float, float]
_Bands: TypeAlias = list[tuple[NDArray[np.float64], NDArray[np.float64]]]
"""For each part of a track without a gap: its times, and the edges of all bands from 0 up."""

PANELS = 4
_WIDTH, _PANEL_HEIGHT, _MARGIN = 10.0, 1.9, 0.9
_DPI = 120
_INK, _EMPTY = "#1f2933", "#dfe3e8"
_GAP_SECONDS = 1.0
_GAP_STEPS = 2.5
_NAME_POINTS = 9
_NAME_MARGIN = 1.3
"""Room for a name, as a multiple of its extent."""
_MOST_NAMES = 3
"""Names in one band; they are at least a third of the panel apart."""
_GRID = 12
"""Steps per width of a name at which a band is sampled."""
_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
_MOST_TICKS = 12
_POINTS = 300


class Timeline:
    """Collects results with ``add`` and draws them with ``write``; it keeps no pictures.

    Args:
        path: A PNG file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # By the face's number: the time and the probabilities of each of its frames.
        self._tracks: defaultdict[int, list[tuple[float, list[float]]]] = defaultdict(list)
        self._colours: dict[str, _Colour] = {}
        self._span = (float("inf"), float("-inf"))
        self._limits = (0.0, 0.0)
        self._title = ""

    def add(self, result: FrameResult) -> None:
        """Add the faces of a frame."""
        self._title = result.name
        self._span = min(self._span[0], result.time), max(self._span[1], result.time)
        for face in result.faces:
            if not self._colours:
                self._colours = _colours(face.prediction)
            row = list(face.prediction.probabilities.values())
            self._tracks[face.track].append((result.time, row))

    def write(self, *, duration: float) -> None:
        """Draw the ``PANELS`` faces that were seen in most frames, of one at least.

        Args:
            duration: Seconds at which the video ends, after its last frame.

        Raises:
            FileError: If the file cannot be written.
        """
        self._limits = self._span[0], duration
        with mpl.rc_context({"font.family": "DejaVu Sans", "font.size": 9, "text.color": _INK}):
            canvas = FigureCanvasAgg(Figure(dpi=_DPI, layout="constrained"))
            self._draw(canvas.figure)
            with atomic_path(self._path, private=True) as temporary:
                canvas.print_png(temporary)  # type: ignore[no-untyped-call]

    def _draw(self, figure: Figure) -> None:
        longest = sorted(self._tracks, key=lambda number: (-len(self._tracks[number]), number))
        shown = sorted(longest[:PANELS])
        panels = max(1, len(shown))
        figure.set_size_inches(_WIDTH, _MARGIN + _PANEL_HEIGHT * panels)
        axes = figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0].tolist()
        drawn = [
            (panel, self._draw_track(panel, number))
            for panel, number in zip(axes, shown, strict=False)
        ]
        if not shown:
            axes[0].text(
                0.5, 0.5, "no face was seen", transform=axes[0].transAxes, ha="center", va="center"
            )
            axes[0].set_yticks([])
        self._finish(figure, axes, hidden=len(self._tracks) - len(shown))
        figure.canvas.draw()  # only now the size of a panel is known, which names must fit
        for panel, bands in drawn:
            self._name_bands(panel, bands)

    def _draw_track(self, axes: Axes, number: int) -> _Bands:
        moments, probabilities = zip(*self._tracks[number], strict=True)
        times, rows = _thin_out(np.array(moments), np.array(probabilities), self._span)
        step = float(np.median(np.diff(times))) if len(times) > 1 else _GAP_SECONDS
        edges = np.flatnonzero(np.diff(times) > max(_GAP_SECONDS, _GAP_STEPS * step)) + 1
        bands: _Bands = []
        for part, values in zip(np.split(times, edges), np.split(rows, edges), strict=True):
            until = np.append(part, min(part[-1] + step, self._limits[1]))
            tops = np.vstack([values, values[-1:]]).cumsum(axis=1)
            bands.append((until, np.hstack([np.zeros((len(tops), 1)), tops])))
            for index, colour in enumerate(self._colours.values()):
                low, high = bands[-1][1][:, index], bands[-1][1][:, index + 1]
                axes.fill_between(until, low, high, color=colour, edgecolor="white", linewidth=0.4)
        axes.set_ylabel(f"face #{number}")
        return bands

    def _name_bands(self, axes: Axes, bands: _Bands) -> None:
        begin, end = self._limits
        extent = axes.get_window_extent()
        for index, label in enumerate(self._colours):
            points = max(TextPath((0, 0), label, size=_NAME_POINTS).get_extents().width, 1.0)
            to_pixels = _NAME_MARGIN * _DPI / 72
            width = points * to_pixels / extent.width * (end - begin)
            room = {"width": width, "height": _NAME_POINTS * to_pixels / extent.height}
            apart = max((end - begin) / _MOST_NAMES, room["width"])
            style: dict[str, Any] = {"ha": "center", "va": "center", "color": "black"}
            placed: list[float] = []
            for times, tops in bands:
                low, high = tops[:, index], tops[:, index + 1]
                for x, y in name_places(times, low, high, apart=apart, **room):
                    is_apart = all(abs(x - other) >= apart for other in placed)
                    if is_apart and len(placed) < _MOST_NAMES:
                        placed.append(x)
                        axes.text(x, y, drawn_text(label), fontsize=_NAME_POINTS, **style)

    def _finish(self, figure: Figure, axes: Sequence[Axes], *, hidden: int) -> None:
        step = _tick_step(self._limits)
        decimals = int(step < 1)
        for panel in axes:
            panel.patch.set(facecolor="white", edgecolor=_EMPTY, hatch="////", linewidth=0)
            panel.set_ylim(0, 1)
            panel.set_xlim(self._limits)
            panel.yaxis.set_major_formatter(PercentFormatter(1.0))
            panel.xaxis.set_major_locator(MultipleLocator(step))
            panel.xaxis.set_major_formatter(
                FuncFormatter(lambda seconds, _: clock(seconds, decimals=decimals))
            )
            for side in ("top", "right"):
                panel.spines[side].set_visible(False)
        axes[-1].set_xlabel("time (minutes:seconds)")
        note = f" — {hidden} more face{'s' * (hidden > 1)} not shown" if hidden else ""
        figure.suptitle(f"{drawn_text(self._title)}{note}", x=0.01, ha="left", fontsize=10)
        bands = [
            Patch(facecolor=colour, edgecolor=_INK, linewidth=0.4, label=drawn_text(label))
            for label, colour in self._colours.items()
        ]
        if bands:
            figure.legend(handles=bands[::-1], loc="outside right upper", frameon=False)


def _colours(face: Prediction) -> dict[str, _Colour]:
    """Return the colours of boxes in pictures, by label in output order."""
    return {
        label: to_rgb(
            "#{:02x}{:02x}{:02x}".format(*colour_of(dataclasses.replace(face, label=label)))
        )
        for label in face.probabilities
    }


def _thin_out(
    times: NDArray[np.float64], rows: NDArray[np.float64], span: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean of the frames in each column of the picture, if there are more frames."""
    if len(times) <= _POINTS:
        return times, rows
    columns = ((times - span[0]) / max(span[1] - span[0], 1e-9) * _POINTS).astype(np.int64)
    _, starts, counts = np.unique(columns, return_index=True, return_counts=True)
    return np.add.reduceat(times, starts) / counts, np.add.reduceat(rows, starts) / counts[:, None]


def _tick_step(limits: tuple[float, float]) -> float:
    """Return the seconds between marks, a round number on a clock."""
    span = limits[1] - limits[0]
    return next((step for step in _TICKS if span / step <= _MOST_TICKS), span / _MOST_TICKS)


def clock(seconds: float, *, decimals: int) -> str:
    """Return minutes and seconds, as ``0:04.5``."""
    whole = round(seconds, decimals)
    width = 2 if decimals == 0 else decimals + 3
    return f"{int(whole // 60)}:{whole % 60:0{width}.{decimals}f}"


def name_places(
    times: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    *,
    width: float,
    height: float,
    apart: float,
) -> Iterator[tuple[float, float]]:
    """Yield the centres of rectangles inside the band ``low`` to ``high``, the roomiest first.

    The band is sampled on a grid of ``_GRID`` steps per width of the name. The rectangle that
    starts at a grid point reaches from the highest lower edge in its window to the lowest upper
    edge. A chosen rectangle removes those that are closer than ``apart``.

    Args:
        times: Ascending, ``(N,)``, as are ``low`` and ``high``.
        width: Of the name, in the unit of ``times``.
        height: Of the name, in the unit of the band.
        apart: Least distance between two centres, in the unit of ``times``.
    """
    points = min(int(_GRID * (times[-1] - times[0]) / width) + 1, 100_000)
    if points <= _GRID:
        return
    grid = np.linspace(times[0], times[-1], points)
    floor = sliding_window_view(np.interp(grid, times, low), _GRID + 1).max(axis=1)
    ceiling = sliding_window_view(np.interp(grid, times, high), _GRID + 1).min(axis=1)
    middles = (grid[: len(floor)] + grid[_GRID:]) / 2
    room = ceiling - floor
    while room.max() >= height:
        best = int(room.argmax())
        yield float(middles[best]), float(floor[best] + ceiling[best]) / 2
        room[np.abs(middles - middles[best]) < max(apart, width)] = -1.0

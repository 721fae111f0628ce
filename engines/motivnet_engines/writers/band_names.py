"""Where in a band of a plot its name has room."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

_GRID = 12
"""Steps in which a band is looked at, for the width of one name."""
_MOST_POINTS = 100_000


def name_places(
    times: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    *,
    width: float,
    height: float,
    apart: float,
) -> Iterator[tuple[float, float]]:
    """The middles of rectangles that lie within the band ``low`` to ``high``, the roomiest first.

    Args:
        times: Ascending, ``(N,)``, as are ``low`` and ``high``.
        width: Of the name, in the unit of ``times``.
        height: Of the name, in the unit of the band.
        apart: The least distance between the middles of two, in the unit of ``times``.
    """
    points = min(int(_GRID * (times[-1] - times[0]) / width) + 1, _MOST_POINTS)
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

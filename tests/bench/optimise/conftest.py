"""Fixtures of the optimisation's tests: points from plain numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from motivnet_bench.intervals import Answers
from motivnet_bench.latency.result import Speedup
from motivnet_bench.optimise.plan import Kind, Point
from motivnet_bench.optimise.result import Measured, Timing

PlantPoint = Callable[..., Point]
PlantMeasured = Callable[..., Measured]


@pytest.fixture(scope="session")
def plant_point() -> PlantPoint:
    """Returns a point with a grid, and with some of its tokens."""

    def plant(
        rows: int,
        columns: int,
        *,
        tokens: int | None = None,
        kind: Kind | None = None,
        flop: int | None = None,
    ) -> Point:
        kept = tokens or rows * columns
        kind = kind or ("size" if kept == rows * columns else "tokens")
        return Point(
            key=f"{kind}-{rows}x{columns}-{kept}",
            kind=kind,
            image_size=(16 * rows, 16 * columns),
            grid=(rows, columns),
            tokens=kept,
            share=kept / (rows * columns),
            flop=flop or 1_000_000 * kept,
        )

    return plant


@pytest.fixture(scope="session")
def plant_measured() -> PlantMeasured:
    """Returns a point that was measured, with so many answers lost and gained of 1,000."""

    def plant(
        point: Point, *, times: float, lost: int = 0, gained: int = 0, **other: Any
    ) -> Measured:
        ratio = Speedup(
            median=times,
            smallest=0.9 * times,
            largest=1.1 * times,
            lower_bound=0.8 * times,
            upper_bound=1.2 * times,
        )
        return Measured(
            point=point,
            answers=Answers(images=1000, right=900 - lost + gained, lost=lost, gained=gained),
            timing=Timing(seconds=0.010 / times, speedup=ratio, peak_memory=10**8, disturbed=False),
            model_bytes=10**6,
            seconds=1.0,
            **other,
        )

    return plant

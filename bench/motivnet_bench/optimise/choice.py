"""Which point is picked, where the knee is, and which points need no measuring."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from motivnet_bench.optimise.plan import Point
from motivnet_bench.optimise.result import Limits, Measured

_CHEAPER = 0.98
"""A point with almost the same FLOP is not cheaper."""


def reason_to_skip(point: Point, measured: Iterable[Measured], limits: Limits) -> str | None:
    """Return why a point cannot be picked, whatever its measurement would be; None if it can.

    Two things are assumed of points with the full model's weights. A point with fewer tokens, and
    no larger an image, answers no better than one with more: if the loss of that one is certainly
    too large (the lower end of its interval is above ``--max-drop``), so is this one's. And none
    answers better than the full model: if a cheaper point loses nothing, there is nothing to win.
    """
    if point.flop > 1e9 * _limit(limits.max_gflop):
        return f"it takes {point.flop / 1e9:.3g} GFLOP, more than --max-gflop {limits.max_gflop:g}"
    for other in measured:
        drop = other.answers.drop
        if point.is_below(other.point) and drop.low > _limit(limits.max_drop):
            return (
                f"{other.point.title}, with more tokens, loses at least {drop.low:.1f} points "
                f"already, more than --max-drop {limits.max_drop:g}"
            )
        milliseconds = 1e3 * other.timing.seconds
        if other.point.is_below(point) and milliseconds > _limit(limits.max_ms):
            return (
                f"{other.point.title}, with fewer tokens, takes {milliseconds:.3g} ms already, "
                f"more than --max-ms {limits.max_ms:g}"
            )
        if _makes_useless(other, point):
            return f"{other.point.title} takes fewer FLOP and loses nothing"
    return None


def _limit(value: float | None) -> float:
    return math.inf if value is None else value


def _makes_useless(other: Measured, point: Point) -> bool:
    """Return whether a cheaper point answers as well as the full model."""
    return (
        point.kind == "tokens"
        and other.point.key != point.key
        and other.point.flop < _CHEAPER * point.flop
        and other.answers.drop.value <= 0
    )


def is_within(each: Measured, limits: Limits) -> bool:
    """Return whether a measured point keeps every limit; of the loss, its estimate counts."""
    return (
        each.answers.drop.value <= _limit(limits.max_drop)
        and 1e3 * each.timing.seconds <= _limit(limits.max_ms)
        and each.point.flop <= 1e9 * _limit(limits.max_gflop)
    )


def choose(measured: Sequence[Measured], limits: Limits) -> Measured | None:
    """Return the pick: the fastest point within ``--max-drop`` and the limit of the cost.

    With a limit of the cost and none of the loss it is the most accurate point within that limit,
    and without any limit the knee.
    """
    within = [each for each in measured if is_within(each, limits)]
    if not within:
        return None
    if limits.max_drop is not None:
        return max(within, key=lambda each: (each.times_faster, -each.point.flop))
    if limits.max_ms is not None or limits.max_gflop is not None:
        return max(within, key=lambda each: (each.answers.right, each.times_faster))
    return knee(measured) or max(within, key=lambda each: each.answers.right)


def nearest(measured: Sequence[Measured], limits: Limits) -> Measured:
    """Return the point that misses the limits by least: the excesses over each limit, added."""

    def excess(each: Measured) -> float:
        values = (
            (each.answers.drop.value, limits.max_drop),
            (1e3 * each.timing.seconds, limits.max_ms),
            (each.point.flop / 1e9, limits.max_gflop),
        )
        return sum(max(0.0, value / limit - 1) for value, limit in values if limit is not None)

    return min(measured, key=excess)


def front(measured: Iterable[Measured]) -> tuple[Measured, ...]:
    """Return the points that no other one beats in speed and accuracy, the fastest first."""
    best: list[Measured] = []
    for each in sorted(measured, key=lambda each: (-each.times_faster, -each.answers.right)):
        if not best or each.answers.right > best[-1].answers.right:
            best.append(each)
    return tuple(best)


def knee(measured: Iterable[Measured]) -> Measured | None:
    """Return the point of the front where more time begins to win little; None below three points.

    It is the one farthest above the line from the first to the last point of the front, in the
    accuracy against the logarithm of the time, both scaled to 1 (the difference curve of Satopaa et
    al. 2011, "Finding a Kneedle in a Haystack", doi 10.1109/ICDCSW.2011.20, without smoothing).
    """
    curve = front(measured)
    if len(curve) < 3:
        return None
    costs = [-math.log(each.times_faster) for each in curve]
    rights = [each.answers.right for each in curve]

    def height(index: int) -> float:
        along = (costs[index] - costs[0]) / (costs[-1] - costs[0])
        up = (rights[index] - rights[0]) / (rights[-1] - rights[0])
        return up - along

    best = max(range(len(curve)), key=height)
    return curve[best] if height(best) > 0 else None

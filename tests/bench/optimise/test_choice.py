"""Which points are skipped, which is picked, and where the knee is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motivnet_bench.intervals import Answers
from motivnet_bench.latency.result import Speedup
from motivnet_bench.optimise.choice import choose, front, is_within, knee, nearest, reason_to_skip
from motivnet_bench.optimise.plan import Point
from motivnet_bench.optimise.result import Limits, Measured, Timing

NONE = Limits(max_drop=None, max_ms=None, max_gflop=None)
ONE_POINT = Limits(max_drop=1.0, max_ms=None, max_gflop=None)


@st.composite
def measurements(draw: st.DrawFn) -> Measured:
    """A point of any cost and accuracy."""
    rows, columns = draw(st.integers(1, 16)), draw(st.integers(1, 12))
    tokens = draw(st.integers(1, rows * columns))
    times = draw(st.floats(0.5, 50))
    lost, gained = draw(st.integers(0, 400)), draw(st.integers(0, 50))
    ratio = Speedup(
        median=times, smallest=times, largest=times, lower_bound=times, upper_bound=times
    )
    return Measured(
        point=Point(
            key=f"{rows}x{columns}-{tokens}",
            kind="size" if tokens == rows * columns else "tokens",
            image_size=(16 * rows, 16 * columns),
            grid=(rows, columns),
            tokens=tokens,
            share=tokens / (rows * columns),
            flop=10**6 * tokens,
        ),
        answers=Answers(images=1000, right=900 - lost + gained, lost=lost, gained=gained),
        timing=Timing(seconds=0.01 / times, speedup=ratio, peak_memory=1, disturbed=False),
        model_bytes=1,
        seconds=1.0,
    )


many = st.lists(measurements(), min_size=1, max_size=20)
limits = st.builds(
    Limits,
    max_drop=st.none() | st.floats(0.1, 20),
    max_ms=st.none() | st.floats(0.1, 20),
    max_gflop=st.none() | st.floats(0.001, 1),
)


@settings(deadline=None)
@given(many, measurements(), limits)
def test_point_that_is_skipped_would_not_be_picked(
    measured: list[Measured], candidate: Measured, asked: Limits
) -> None:
    """If the assumptions of the rules hold: fewer tokens answer no better and are no slower."""
    others = [each for each in measured if each.point.key != candidate.point.key]
    reason = reason_to_skip(candidate.point, others, asked)
    if reason is None or asked.max_drop is None or asked.max_ms is not None:
        return
    above = [each for each in others if candidate.point.is_below(each.point)]
    is_plausible = all(candidate.answers.right <= each.answers.right for each in above)
    cheaper = [each for each in others if each.point.flop < candidate.point.flop]
    is_plausible &= (
        all(candidate.times_faster <= each.times_faster for each in cheaper)
        and candidate.answers.drop.value >= 0
    )
    if is_plausible and all(each.answers.drop.value >= 0 for each in others):
        picked = choose([*others, candidate], asked)
        assert picked is not candidate or any(
            each.times_faster == candidate.times_faster for each in others
        )


@settings(deadline=None)
@given(many)
def test_front_has_no_point_that_another_one_beats(measured: list[Measured]) -> None:
    best = front(measured)

    assert best
    for each in best:
        assert not any(
            other.times_faster >= each.times_faster
            and other.answers.right >= each.answers.right
            and (other.times_faster, other.answers.right) != (each.times_faster, each.answers.right)
            for other in measured
        )
    for each in measured:
        assert any(
            other.times_faster >= each.times_faster and other.answers.right >= each.answers.right
            for other in best
        )


@settings(deadline=None)
@given(many, limits)
def test_pick_is_within_the_limits_and_nothing_within_is_cheaper(
    measured: list[Measured], asked: Limits
) -> None:
    picked = choose(measured, asked)
    within = [each for each in measured if is_within(each, asked)]
    if picked is None:
        assert not within
    elif asked != NONE:
        assert picked in within
        if asked.max_drop is not None:
            assert picked.times_faster == max(each.times_faster for each in within)


@settings(deadline=None)
@given(many, limits)
def test_nearest_misses_no_limit_if_one_point_keeps_all(
    measured: list[Measured], asked: Limits
) -> None:
    within = [each for each in measured if is_within(each, asked)]
    if within:
        assert is_within(nearest(measured, asked), asked)


@settings(deadline=None)
@given(many)
def test_knee_is_inside_the_front(measured: list[Measured]) -> None:
    bend, curve = knee(measured), front(measured)
    if bend is not None:
        assert len(curve) >= 3
        assert bend in curve[1:-1]


def test_knee_is_where_the_curve_bends(plant_point: Any, plant_measured: Any) -> None:
    lost_by_speed = {1.0: 0, 2.0: 4, 4.0: 10, 8.0: 150, 16.0: 400}
    measured = [
        plant_measured(plant_point(4, number + 1), times=times, lost=lost)
        for number, (times, lost) in enumerate(lost_by_speed.items())
    ]

    bend = knee(measured)

    assert bend is not None
    assert bend.times_faster == 4.0


def test_two_points_have_no_knee(plant_point: Any, plant_measured: Any) -> None:
    measured = [
        plant_measured(plant_point(4, 3), times=1.0),
        plant_measured(plant_point(2, 2), times=3.0, lost=20),
    ]

    assert knee(measured) is None


def test_loss_that_is_certain_rules_out_fewer_tokens(plant_point: Any, plant_measured: Any) -> None:
    bad = plant_measured(plant_point(8, 6), times=3.0, lost=60)

    smaller = reason_to_skip(plant_point(6, 4), [bad], ONE_POINT)
    fewer = reason_to_skip(plant_point(8, 6, tokens=20), [bad], ONE_POINT)

    assert smaller is not None
    assert "with more tokens, loses at least" in smaller
    assert fewer is not None


@pytest.mark.parametrize(
    ("lost", "rows", "columns"),
    [
        (12, 6, 4),  # the interval of the loss begins below a point
        (60, 16, 12),  # a larger image, of which nothing is known
    ],
)
def test_what_may_be_enough_is_measured(
    plant_point: Any, plant_measured: Any, lost: int, rows: int, columns: int
) -> None:
    other = plant_measured(plant_point(8, 6), times=3.0, lost=lost, gained=2)

    assert reason_to_skip(plant_point(rows, columns), [other], ONE_POINT) is None


def test_students_are_not_ruled_out_by_other_weights(plant_point: Any, plant_measured: Any) -> None:
    bad = plant_measured(plant_point(8, 6), times=3.0, lost=300)

    assert reason_to_skip(plant_point(4, 3, kind="student"), [bad], ONE_POINT) is None


def test_tokens_are_not_kept_where_a_cheaper_point_loses_nothing(
    plant_point: Any, plant_measured: Any
) -> None:
    good = plant_measured(plant_point(12, 9), times=2.0, lost=3, gained=3)

    reason = reason_to_skip(plant_point(16, 12, tokens=154), [good], NONE)

    assert reason == "192x144 takes fewer FLOP and loses nothing"


def test_cost_beyond_the_limit_is_not_measured(plant_point: Any, plant_measured: Any) -> None:
    gflop = Limits(max_drop=None, max_ms=None, max_gflop=0.01)
    milliseconds = Limits(max_drop=None, max_ms=2.0, max_gflop=None)
    slow = plant_measured(plant_point(8, 6), times=2.0)

    assert "more than --max-gflop 0.01" in str(reason_to_skip(plant_point(8, 6), [], gflop))
    assert reason_to_skip(plant_point(3, 3), [], gflop) is None
    assert "5 ms already" in str(reason_to_skip(plant_point(16, 12), [slow], milliseconds))


def test_without_limits_the_knee_is_picked_and_with_a_cost_the_most_accurate(
    plant_point: Any, plant_measured: Any
) -> None:
    measured = [
        plant_measured(plant_point(16, 12), times=1.0),
        plant_measured(plant_point(8, 6), times=4.0, lost=5),
        plant_measured(plant_point(4, 3), times=10.0, lost=300),
    ]

    assert choose(measured, NONE) is measured[1]
    assert choose(measured, ONE_POINT) is measured[1]
    ample = Limits(max_drop=None, max_ms=20.0, max_gflop=None)
    assert choose(measured, ample) is measured[0]
    tight = Limits(max_drop=None, max_ms=1.5, max_gflop=None)
    assert choose(measured, tight) is measured[2]

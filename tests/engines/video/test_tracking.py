"""Numbers that stay with faces, and probabilities that change over time."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motivnet.errors import ConfigError
from motivnet.prediction import Box
from motivnet_engines.video.tracking import FaceTracker, ProbabilitySmoother


def box(x: float, y: float = 0.0, size: float = 100.0) -> Box:
    return Box(x=x, y=y, width=size, height=size)


def test_a_face_that_moves_keeps_its_number() -> None:
    tracker = FaceTracker()
    assert [tracker.update([box(10.0 * step)], step / 25) for step in range(50)] == [(1,)] * 50


def test_two_faces_keep_their_numbers_in_whatever_order_they_come() -> None:
    tracker = FaceTracker()
    assert tracker.update([box(0), box(300)], 0.0) == (1, 2)
    assert tracker.update([box(310), box(5)], 0.1) == (2, 1)
    assert tracker.update([box(10)], 0.2) == (1,)
    assert tracker.update([box(600), box(305), box(10)], 0.3) == (3, 2, 1)


def test_a_jump_is_a_new_face() -> None:
    tracker = FaceTracker()
    tracker.update([box(0)], 0.0)
    assert tracker.update([box(80)], 0.1) == (2,)


def test_the_pair_that_overlaps_most_is_matched_first() -> None:
    tracker = FaceTracker()
    tracker.update([box(0)], 0.0)
    assert tracker.update([box(40), box(10)], 0.1) == (2, 1)


@pytest.mark.parametrize(("away", "number"), [(0.9, 1), (1.1, 2)])
def test_a_face_is_lost_after_a_second(away: float, number: int) -> None:
    tracker = FaceTracker()
    tracker.update([box(0)], 0.0)
    for step in range(1, 10):
        tracker.update([], away * step / 10)
    assert tracker.update([box(0)], away) == (number,)


@pytest.mark.parametrize("interval", [0.04, 1.2, 30.0])
def test_a_face_may_be_missing_in_one_frame_however_far_apart_they_are(interval: float) -> None:
    tracker = FaceTracker()
    for step in range(10):
        assert tracker.update([box(0)] if step % 2 == 0 else [], step * interval) == (
            (1,) if step % 2 == 0 else ()
        )


def test_a_face_is_another_after_two_frames_without_it_that_are_far_apart() -> None:
    tracker = FaceTracker()
    assert [
        tracker.update(faces, 2.0 * step) for step, faces in enumerate([[box(0)], [], [], [box(0)]])
    ][-1] == (2,)


def test_one_long_gap_between_frames_loses_the_faces_before_it() -> None:
    tracker = FaceTracker()
    for step in range(10):
        tracker.update([box(0)], step / 25)
    assert tracker.update([box(0)], 5.0) == (2,)


def test_a_lost_face_is_forgotten() -> None:
    tracker = FaceTracker()
    tracker.update([box(0), box(300)], 0.0)
    for step in range(1, 20):
        tracker.update([box(300)], step / 10)
    assert tracker.tracks == {2}


def test_images_that_are_the_face_itself_are_one_track() -> None:
    tracker = FaceTracker()
    assert [tracker.update([None], step) for step in (0.0, 0.5)] == [(1,), (1,)]


def test_faces_that_pass_each_other_at_a_distance_keep_their_numbers() -> None:
    tracker = FaceTracker()
    for step in range(41):
        assert tracker.update([box(10 * step), box(400 - 10 * step, 60)], step / 25) == (1, 2)


@given(st.lists(st.lists(st.floats(0, 1000), max_size=5), max_size=20))
def test_no_number_is_given_twice_in_a_frame_and_none_is_used_again(
    frames: list[list[float]],
) -> None:
    tracker = FaceTracker()
    last: dict[int, int] = {}
    for step, places in enumerate(frames):
        numbers = tracker.update([box(place) for place in places], float(step))
        assert len(set(numbers)) == len(places)
        for number in numbers:
            assert step - last.get(number, step) <= 2
            last[number] = step


def test_with_no_time_constant_nothing_is_changed() -> None:
    smoother = ProbabilitySmoother(0.0)
    smoother.smooth(1, 0.0, {"a": 1.0, "b": 0.0})
    assert smoother.smooth(1, 0.1, {"a": 0.25, "b": 0.75}) == {"a": 0.25, "b": 0.75}


def test_after_the_time_constant_a_change_has_come_through_to_63_percent() -> None:
    smoother = ProbabilitySmoother(0.5)
    smoother.smooth(1, 0.0, {"a": 1.0, "b": 0.0})
    assert smoother.smooth(1, 0.5, {"a": 0.0, "b": 1.0})["b"] == pytest.approx(1 - math.exp(-1))


def test_the_result_does_not_depend_on_the_frame_rate() -> None:
    ends = []
    for times in (np.linspace(0, 2, 5), np.linspace(0, 2, 101), np.array([0.0, 0.01, 0.9, 2.0])):
        smoother = ProbabilitySmoother(0.7)
        smoother.smooth(1, 0.0, {"a": 1.0, "b": 0.0})
        ends.append([smoother.smooth(1, time, {"a": 0.2, "b": 0.8})["a"] for time in times][-1])
    assert ends == pytest.approx([0.2 + 0.8 * math.exp(-2 / 0.7)] * 3)


def test_tracks_do_not_mix_and_a_forgotten_one_begins_again() -> None:
    smoother = ProbabilitySmoother(1.0)
    smoother.smooth(1, 0.0, {"a": 1.0, "b": 0.0})
    assert smoother.smooth(2, 0.1, {"a": 0.0, "b": 1.0}) == {"a": 0.0, "b": 1.0}
    smoother.keep({2})
    assert smoother.smooth(1, 0.2, {"a": 0.0, "b": 1.0}) == {"a": 0.0, "b": 1.0}


@given(
    st.floats(0.001, 100),
    st.lists(
        st.tuples(st.floats(0, 1e6), st.lists(st.floats(0.001, 1), min_size=3, max_size=3)),
        min_size=1,
    ),
)
def test_probabilities_always_sum_to_one_and_stay_between_what_was_seen(
    seconds: float, frames: list[tuple[float, list[float]]]
) -> None:
    smoother = ProbabilitySmoother(seconds)
    seen = []
    for time, weights in itertools.islice(frames, 50):
        seen.append(
            {label: weight / sum(weights) for label, weight in zip("abc", weights, strict=True)}
        )
        smoothed = smoother.smooth(1, time, seen[-1])
        assert sum(smoothed.values()) == pytest.approx(1.0, abs=1e-12)
        for label, value in smoothed.items():
            assert min(p[label] for p in seen) - 1e-9 <= value <= max(p[label] for p in seen) + 1e-9


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
def test_a_time_constant_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(ConfigError, match="0 \\(off\\) or more seconds"):
        ProbabilitySmoother(seconds)

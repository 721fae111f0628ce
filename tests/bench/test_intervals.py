"""Intervals of accuracy, and of its paired loss."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motivnet_bench.intervals import (
    Answers,
    compare_answers,
    images_for_interval,
    images_to_show,
)


@st.composite
def answers(draw: st.DrawFn) -> Answers:
    """Any outcome of two models on the same images."""
    both = draw(st.integers(0, 2000))
    neither = draw(st.integers(0, 500))
    lost = draw(st.integers(0, 300))
    gained = draw(st.integers(0, 300))
    images = both + neither + lost + gained
    return Answers(images=max(images, 1), right=both + gained, lost=lost, gained=gained)


@pytest.mark.parametrize(
    ("lost", "gained", "images"), [(40, 20, 1000), (100, 5, 350), (30, 30, 5000)]
)
def test_paired_interval_is_that_of_the_closed_form(lost: int, gained: int, images: int) -> None:
    drop = Answers(images=images, right=images // 2, lost=lost, gained=gained).drop

    first, second = (lost + 0.5) / (images + 2), (gained + 0.5) / (images + 2)
    deviation = 100 * math.sqrt((first + second - (first - second) ** 2) / images)
    assert drop.value == pytest.approx(100 * (lost - gained) / images)
    assert drop.high - drop.low == pytest.approx(2 * 1.96 * deviation, rel=0.05)
    assert (drop.high + drop.low) / 2 == pytest.approx(100 * (first - second), abs=0.2)


def test_interval_of_accuracy_is_that_of_the_closed_form() -> None:
    accuracy = Answers(images=1000, right=900, lost=0, gained=0).accuracy

    assert accuracy.value == 90.0
    assert accuracy.low == pytest.approx(90 - 196 * math.sqrt(0.09 / 1000), abs=0.2)
    assert accuracy.high == pytest.approx(90 + 196 * math.sqrt(0.09 / 1000), abs=0.2)


def test_paired_interval_is_narrower_than_that_of_the_accuracy() -> None:
    measured = Answers(images=1000, right=880, lost=25, gained=5)

    assert measured.drop.high - measured.drop.low < measured.accuracy.high - measured.accuracy.low


def test_same_answers_still_have_an_interval() -> None:
    drop = Answers(images=100, right=90, lost=0, gained=0).drop

    assert drop.value == 0
    assert drop.low < 0 < drop.high


@settings(deadline=None)
@given(answers())
def test_value_is_in_its_interval_and_the_interval_in_its_range(measured: Answers) -> None:
    for estimate, lowest in ((measured.accuracy, 0), (measured.drop, -100)):
        assert lowest <= estimate.low <= estimate.value <= estimate.high <= 100


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), min_size=1))
def test_loss_is_the_difference_of_both_accuracies(rows: list[tuple[int, int, int]]) -> None:
    point, full, truth = np.array(rows, np.int64).T

    measured = compare_answers(point, full, truth)

    assert measured.right == (point == truth).sum()
    difference = (full == truth).mean() - (point == truth).mean()
    assert measured.drop.value == pytest.approx(100 * difference)


def test_images_to_show_a_loss() -> None:
    assert images_to_show(1.0) == 300
    assert images_to_show(0.5) == 600


def test_images_that_would_do_are_told_by_the_width() -> None:
    measured = Answers(images=350, right=300, lost=9, gained=7)
    needed = images_for_interval(measured, 2.0)

    assert needed is not None
    scale = needed / 350
    larger = Answers(
        images=needed, right=round(300 * scale), lost=round(9 * scale), gained=round(7 * scale)
    )
    assert larger.drop.high == pytest.approx(2.0, abs=0.25)


@pytest.mark.parametrize(("lost", "limit"), [(0, 5.0), (60, 1.0)])
def test_no_number_is_told_where_none_is_needed_or_none_helps(lost: int, limit: float) -> None:
    assert images_for_interval(Answers(images=1000, right=900, lost=lost, gained=0), limit) is None

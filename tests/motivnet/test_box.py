"""Boxes: what they refuse, and their overlap."""

from __future__ import annotations

import math

import pytest

from motivnet.box import Box
from motivnet.errors import InputError


def box(x: float, y: float, width: float, height: float) -> Box:
    return Box(x=x, y=y, width=width, height=height)


@pytest.mark.parametrize(
    ("other", "iou"),
    [
        (box(0, 0, 10, 10), 1.0),
        (box(5, 0, 10, 10), 1 / 3),
        (box(0, 5, 10, 10), 1 / 3),
        (box(10, 0, 10, 10), 0.0),
        (box(20, 20, 1, 1), 0.0),
        (box(2, 2, 5, 5), 0.25),
        (box(-10, -10, 30, 30), 1 / 9),
    ],
)
def test_the_overlap_of_two_boxes(other: Box, iou: float) -> None:
    mine = box(0, 0, 10, 10)
    assert mine.iou(other) == other.iou(mine) == pytest.approx(iou)


@pytest.mark.parametrize(
    "numbers", [(0, 0, 0, 1), (0, 0, 1, -1), (math.nan, 0, 1, 1), (0, math.inf, 1, 1)]
)
def test_a_box_that_is_none_is_refused(numbers: tuple[float, float, float, float]) -> None:
    with pytest.raises(InputError, match="a box has"):
        box(*numbers)


def test_a_box_as_json() -> None:
    assert box(1.5, 2, 3, 4).to_dict() == {"x": 1.5, "y": 2, "width": 3, "height": 4}

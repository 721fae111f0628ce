"""The points that may be measured, and their costs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motivnet.config import ModelConfig
from motivnet.errors import ConfigError
from motivnet_bench.optimise.plan import STUDENT_SAVING, plan_points

TEACHER = ModelConfig.named("tiny", image_size=(256, 192))


def test_sizes_go_from_the_full_one_to_a_sixteenth_of_the_tokens() -> None:
    sizes = [point for point in plan_points(TEACHER) if point.kind in ("full", "size")]

    assert [point.key for point in sizes] == [
        *("256x192", "192x144", "144x112", "112x80", "80x64", "64x48")
    ]
    assert sizes[0].flop == TEACHER.flop
    assert sizes[-1].tokens * 16 == sizes[0].tokens


@pytest.mark.parametrize("name", ["sapiens-0.3b", "sapiens-2b", "vit-s", "tiny"])
def test_every_point_can_be_configured_and_costs_what_it_says(name: str) -> None:
    config = ModelConfig.named(name)
    for point in plan_points(config):
        smaller = config.at(point.image_size)
        if point.share < 1:
            smaller = smaller.keeping(range(point.tokens))
        assert smaller.encoder.tokens == point.tokens
        assert smaller.flop == point.flop


@settings(deadline=None)
@given(st.integers(2, 40), st.integers(2, 40))
def test_sizes_keep_the_aspect_ratio_as_the_patches_allow(rows: int, columns: int) -> None:
    config = ModelConfig.named("tiny", image_size=(16 * rows, 16 * columns))
    points = plan_points(config)

    assert len({point.key for point in points}) == len(points)
    for point in points:
        height, width = point.grid
        assert abs(width - columns * height / rows) <= 0.5 or width == 1
        assert 1 <= point.tokens <= rows * columns


def test_full_model_comes_first_and_sizes_before_shares_of_tokens() -> None:
    kinds = [point.kind for point in plan_points(TEACHER, student=True)]

    assert kinds[0] == "full"
    assert kinds == sorted(kinds, key=["full", "size", "tokens", "student"].index)


@pytest.mark.parametrize(
    ("name", "students"),
    [
        ("sapiens-1b", [*("student-vit-b", "student-vit-s", "student-vit-ti", "student-tiny")]),
        ("vit-b", ["student-vit-ti", "student-tiny"]),
        ("tiny", ["student-slim"]),
    ],
)
def test_students_are_ten_times_cheaper(name: str, students: list[str]) -> None:
    config = ModelConfig.named(name, image_size=(256, 192) if name == "tiny" else None)
    found = [point for point in plan_points(config, student=True) if point.kind == "student"]

    assert [point.key for point in found] == students
    assert all(point.flop * STUDENT_SAVING <= config.flop for point in found)


def test_model_that_keeps_some_tokens_is_refused() -> None:
    with pytest.raises(ConfigError, match="keeps 100 of its tokens already"):
        plan_points(TEACHER.keeping(range(100)))


def test_image_of_one_patch_cannot_be_made_smaller() -> None:
    with pytest.raises(ConfigError, match=r"16x16 pixels .* cannot be made smaller"):
        plan_points(ModelConfig.named("tiny", image_size=(16, 16)))


def test_point_is_below_another_with_more_of_everything() -> None:
    points = {point.key: point for point in plan_points(TEACHER, student=True)}

    assert points["192x144"].is_below(points["256x192"])
    assert points["256x192-40"].is_below(points["256x192-60"])
    assert not points["256x192-40"].is_below(points["192x144"])
    assert not points["student-slim"].is_below(points["256x192"])
    assert not points["256x192"].is_below(points["256x192"])

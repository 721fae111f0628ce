"""What a video declares against what came out of it."""

from __future__ import annotations

from typing import Any

import pytest

from motivnet_engines.video.completeness import Declared, Received, find_shortfall

WHOLE: dict[str, Any] = {
    "packets": 50,
    "frames": 50,
    "read_to": 2.0,
    "video_from": 1.96,
    "shown_from": 1.96,
}
STEP = 0.04


@pytest.mark.parametrize(
    ("changes", "declared", "expected"),
    [
        ({}, {"packets": 50, "end": 2.0}, None),
        ({}, {"packets": None, "end": None}, None),
        ({}, {"packets": None, "end": 2.07}, None),
        ({}, {"packets": None, "end": 2.2}, "stops after 2.00 s of 2.20 s"),
        (
            {"frames": 0},
            {"packets": None, "end": None},
            "holds nothing that can be decoded, with at most 40 million",
        ),
        ({"packets": 49}, {"packets": 50, "end": None}, "stops after 49 of 50 frames"),
        (
            {"frames": 45, "shown_from": 1.76},
            {"packets": 50, "end": 2.0},
            "cannot be decoded beyond 1.80 s of 2.00 s",
        ),
        ({}, {"packets": None, "end": None, "whole": False}, "is cut off after 2.00 s"),
        (
            {"damaged": 3},
            {"packets": 50, "end": 2.0},
            "is damaged: 3 of its packets or frames are broken",
        ),
    ],
)
def test_what_is_missing_is_said(
    changes: dict[str, Any], declared: dict[str, Any], expected: str | None
) -> None:
    said = find_shortfall(Received(**(WHOLE | changes)), Declared(step=STEP, **declared))
    assert said is expected if expected is None else str(said).startswith(expected)


def test_an_hour_may_be_one_percent_shorter_than_declared() -> None:
    received = Received(packets=1, frames=1, read_to=3570.0, video_from=3569.96, shown_from=3569.96)
    assert find_shortfall(received, Declared(packets=None, end=3600.0, step=STEP)) is None
    assert (
        find_shortfall(received, Declared(packets=None, end=3610.0, step=STEP))
        == "stops after 3570.00 s of 3610.00 s"
    )

"""Which of several runtimes is faster, by a clock that the tests move."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from motivnet.artifact import open_artifact
from motivnet_engines.system.machine import read_processor
from motivnet_engines.verification import speed
from motivnet_engines.verification.speed import (
    MAX_ROUNDS,
    MIN_ROUNDS,
    OpenedBy,
    compare_speed,
    measure_rounds,
)


class Clock:
    """A clock that stands still but for what the calls take; ``order`` are their names."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order: list[str] = []

    def __call__(self) -> float:
        return self.now

    def call(self, name: str, seconds: float) -> Callable[[], None]:
        def run() -> None:
            self.order.append(name)
            self.now += seconds

        return run


def test_rounds_alternate_and_quick_calls_are_repeated() -> None:
    clock = Clock()
    seconds = measure_rounds([clock.call("a", 0.1), clock.call("b", 0.4)], clock=clock)
    assert seconds.shape == (MAX_ROUNDS, 2)
    np.testing.assert_allclose(seconds, [[0.1, 0.4]] * MAX_ROUNDS)
    # Warmed up, timed once, then two calls of a to one of b, there and back.
    assert "".join(clock.order[:10]) == "ababaabbaa"


def test_slow_calls_are_measured_in_few_rounds() -> None:
    clock = Clock()
    assert len(measure_rounds([clock.call("a", 50.0)], clock=clock)) == MIN_ROUNDS


@pytest.mark.parametrize(
    ("candidate", "is_faster"),
    [
        ([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 9.0], True),  # disturbed once
        ([1.0, 1.0, 1.0, 1.0, 1.0, 9.0, 9.0, 9.0], False),  # faster in the median only
        ([3.0] * 8, False),
        ([2.0] * 8, False),  # the same
    ],
)
def test_faster_is_what_is_so_in_three_quarters_of_the_rounds(
    candidate: list[float],
    is_faster: bool,
    fp32_artifact: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow, fast = [5.0] * 8, [2.0] * 8
    monkeypatch.setattr(speed, "measure_rounds", lambda _: np.transpose([candidate, slow, fast]))
    opened = OpenedBy(artifact=open_artifact(fp32_artifact), runtime="openvino")
    other = OpenedBy(artifact=opened.artifact, runtime="onnxruntime")
    pixels = np.zeros((1, 128, 96, 3), np.uint8)
    found = compare_speed(opened, [opened, other], pixels)
    assert (found.runtime, found.baseline) == ("openvino", "onnxruntime")
    assert found.baseline_milliseconds == 2000.0
    assert found.processor == read_processor().name
    assert found.is_faster == is_faster


def test_real_runtimes_are_measured(fp32_artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "_SECONDS_PER_TURN", 0.0)
    monkeypatch.setattr(speed, "_SECONDS_IN_ALL", 0.0)
    opened = OpenedBy(artifact=open_artifact(fp32_artifact), runtime="openvino")
    pixels = np.zeros((1, 128, 96, 3), np.uint8)
    found = compare_speed(opened, [opened], pixels)
    assert found.rounds == MIN_ROUNDS
    assert found.milliseconds > 0

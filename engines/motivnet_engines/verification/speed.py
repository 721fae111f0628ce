"""Which of two runtimes is faster on this machine: both opened, measured in alternating rounds.

For a decision during a build. ``motivnet-bench`` measures each runtime in a process of its own.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact import Artifact
from motivnet.artifact.quantisation import SpeedComparison
from motivnet.terminal import progress
from motivnet_engines.runtimes.registry import open_backend
from motivnet_engines.runtimes.signature import input_from_pixels
from motivnet_engines.system.machine import read_processor

MIN_ROUNDS, MAX_ROUNDS = 6, 16
"""Even, so that each runtime is as often first as last."""

_SECONDS_IN_ALL = 60.0
_SECONDS_PER_TURN = 0.2
"""Calls of a small model are repeated, so that a turn is longer than what disturbs it."""

Call = Callable[[], object]
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedBy:
    """An artifact, and the name of the runtime that opens it."""

    artifact: Artifact
    runtime: str


def compare_speed(
    candidate: OpenedBy, baselines: Sequence[OpenedBy], pixels: NDArray[np.uint8]
) -> SpeedComparison:
    """Compare a runtime with the fastest of the others, one image per call.

    Args:
        pixels: One image at the model's size, ``(1, H, W, 3)``.

    Raises:
        MotivNetError: If one of them cannot be opened or run.
    """
    with contextlib.ExitStack() as stack, progress("measuring whether INT8 is faster") as _:
        calls = [_open(stack, each, pixels) for each in (candidate, *baselines)]
        rounds = measure_rounds(calls)
    medians = np.median(rounds, axis=0)
    best = 1 + int(medians[1:].argmin())
    ratios = rounds[:, best] / rounds[:, 0]
    return SpeedComparison(
        runtime=candidate.runtime,
        baseline=baselines[best - 1].runtime,
        milliseconds=1e3 * float(medians[0]),
        baseline_milliseconds=1e3 * float(medians[best]),
        ratio=float(np.median(ratios)),
        lower_quartile=float(np.quantile(ratios, 0.25)),
        rounds=len(rounds),
        processor=read_processor().name,
    )


def measure_rounds(
    calls: Sequence[Call], *, clock: Clock = time.perf_counter
) -> NDArray[np.float64]:
    """Return seconds per call, ``(rounds, len(calls))``; every second round runs backwards.

    There and back, so that a processor that heats up favours none. The first call of each, which
    allocates its memory, is not counted; the second tells how often to repeat it.
    """
    for call in calls:
        call()
    single = [_seconds(call, 1, clock) for call in calls]
    repeats = [max(1, round(_SECONDS_PER_TURN / max(each, 1e-6))) for each in single]
    turn = sum(each * count for each, count in zip(single, repeats, strict=True))
    count = int(np.clip(_SECONDS_IN_ALL / max(turn, 1e-6), MIN_ROUNDS, MAX_ROUNDS)) // 2 * 2
    seconds = np.zeros((count, len(calls)))
    for number in range(count):
        order = range(len(calls)) if number % 2 == 0 else reversed(range(len(calls)))
        for index in order:
            seconds[number, index] = _seconds(calls[index], repeats[index], clock)
    return seconds


def _open(stack: contextlib.ExitStack, opened: OpenedBy, pixels: NDArray[np.uint8]) -> Call:
    runtime = stack.enter_context(open_backend(opened.runtime, opened.artifact))
    entry = opened.artifact.manifest.input
    inputs = {entry.name: input_from_pixels(entry, pixels)}
    return lambda: runtime.run(inputs)


def _seconds(call: Call, repeats: int, clock: Clock) -> float:
    start = clock()
    for _ in range(repeats):
        call()
    return (clock() - start) / repeats

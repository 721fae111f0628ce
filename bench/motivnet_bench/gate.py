"""The benchmark gate: whether a run reaches the speed-up and the accuracy that were asked for."""

from __future__ import annotations

import math
from typing import Literal

from motivnet.errors import ConfigError, GateError
from motivnet.schema import Schema
from motivnet_bench.accuracy import PYTORCH, AccuracyResult
from motivnet_bench.latency.result import LatencyResult


class GateCheck(Schema, frozen=True, kw_only=True):
    """One metric against its bound; ``value`` is None if it could not be measured."""

    metric: Literal["speedup", "drop"]
    runtime: str
    value: float | None
    bound: float
    passed: bool
    text: str


class GateResult(Schema, frozen=True, kw_only=True):
    """Every metric that was asked for."""

    format_version: Literal[1] = 1
    kind: Literal["gate"] = "gate"
    passed: bool
    checks: tuple[GateCheck, ...]

    def require(self) -> None:
        """Raise a GateError that names every check that did not pass."""
        if not self.passed:
            raise GateError("; ".join(check.text for check in self.checks if not check.passed))


def check_bounds(
    *, min_speedup: float | None, max_drop: float | None, runtime: str | None = None
) -> None:
    """Check that there are bounds and that they make sense, before a long run.

    Args:
        runtime: The runtime to check.

    Raises:
        ConfigError: If not.
    """
    if min_speedup is None and max_drop is None:
        raise ConfigError(
            "the gate has nothing to check; give --min-speedup, or --max-drop with --dataset"
        )
    if min_speedup is not None and not 0 < min_speedup < math.inf:
        raise ConfigError(f"--min-speedup must be a positive number, not {min_speedup}")
    if max_drop is not None and not 0 <= max_drop <= 100:
        raise ConfigError(f"--max-drop is in percentage points, between 0 and 100, not {max_drop}")
    if max_drop is not None and runtime == PYTORCH:
        raise ConfigError(
            "--max-drop compares a runtime with PyTorch: name another one with --runtime"
        )


def check_speedup(
    result: LatencyResult, minimum: float, *, runtime: str | None = None
) -> GateCheck:
    """Check that a runtime is at least ``minimum`` times as fast as PyTorch FP32 in every round.

    The slowest round counts and not the median: a lucky round on a busy machine must not pass a
    gate.

    Args:
        runtime: Its name; None for the artifact's default runtime.

    Raises:
        GateError: If the result has no such runtime.
    """
    row = result.default if runtime is None else result.candidate(runtime)
    if row is None:
        wanted = "a default runtime" if runtime is None else f"a runtime {runtime!r}"
        names = ", ".join(each.name for each in result.candidates)
        raise GateError(
            f"the result does not have {wanted}; it has {names}; choose one with --runtime"
        )
    speedup = None if row.metrics is None else row.metrics.speedup_over_fp32
    if speedup is None:
        passed = False
        text = f"{row.name} has no speed-up: {row.error or 'PyTorch FP32 was not measured'}"
    else:
        passed = speedup.smallest >= minimum
        text = (
            f"{row.name} is {speedup.smallest:.2f}x PyTorch FP32 in its slowest round "
            f"(median {speedup.median:.2f}x), {'' if passed else 'not '}at least {minimum:g}x"
        )
    return GateCheck(
        metric="speedup",
        runtime=row.name,
        value=None if speedup is None else speedup.smallest,
        bound=minimum,
        passed=passed,
        text=text,
    )


def check_drop(result: AccuracyResult, maximum: float) -> GateCheck:
    """Check that a runtime's accuracy is at most ``maximum`` points below PyTorch's.

    Args:
        result: Of a run over PyTorch and one other runtime, which is checked.
        maximum: Percentage points.
    """
    accuracy = {entry.runtime: entry.metrics.accuracy for entry in result.runtimes}
    name = next(name for name in accuracy if name != PYTORCH)
    drop = round(100 * (accuracy[PYTORCH] - accuracy[name]), 9)
    passed = drop <= maximum
    text = (
        f"{name} loses {drop:.2f} points of accuracy against PyTorch FP32 "
        f"({accuracy[PYTORCH]:.2%} to {accuracy[name]:.2%}), "
        f"{'' if passed else 'not '}at most {maximum:g}"
    )
    return GateCheck(
        metric="drop", runtime=name, value=drop, bound=maximum, passed=passed, text=text
    )

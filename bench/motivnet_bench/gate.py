"""Whether a run reaches the figures that were asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from motivnet.errors import ConfigError, GateError
from motivnet_bench.accuracy_result import PYTORCH, AccuracyResult
from motivnet_bench.latency.result import CandidateResult, LatencyResult


@dataclass(frozen=True, slots=True, kw_only=True)
class GateCheck:
    """One figure against its bound; ``value`` is None where it could not be measured, ``text`` says so in a line."""

    figure: Literal["speedup", "drop"]
    runtime: str
    value: float | None
    bound: float
    reached: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """Every figure that was asked for."""

    format_version: Literal[1] = 1
    kind: Literal["gate"] = "gate"
    passed: bool
    checks: tuple[GateCheck, ...]


def check_bounds(*, min_speedup: float | None, max_drop: float | None) -> None:
    """Returns when there is something to check and the bounds are sensible: better known before a
    long run.

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


def gate_result(checks: Sequence[GateCheck]) -> GateResult:
    """The verdict over the checks."""
    return GateResult(passed=all(check.reached for check in checks), checks=tuple(checks))


def require(result: GateResult) -> None:
    """Returns when every figure is reached.

    Raises:
        GateError: Naming each that is not.
    """
    if not result.passed:
        raise GateError("; ".join(check.text for check in result.checks if not check.reached))


def check_speedup(
    result: LatencyResult, minimum: float, *, runtime: str | None = None
) -> GateCheck:
    """Whether a runtime is at least ``minimum`` times as fast as PyTorch FP32, in every round.

    The slowest round counts and not the median: a lucky round on a busy machine must not pass a
    gate.

    Args:
        runtime: Its name; None for the artifact's default runtime.

    Raises:
        GateError: If the result has no such runtime.
    """
    row = _row(result, runtime)
    ratio = None if row.figures is None else row.figures.ratio_to_fp32
    if ratio is None:
        reason = row.error or "PyTorch FP32 was not measured"
        text, value = f"{row.name} has no speed-up: {reason}", None
    else:
        value = ratio.smallest
        text = (
            f"{row.name} is {value:.2f}x PyTorch FP32 in its slowest round (median {ratio.median:.2f}x), "
            f"{'' if value >= minimum else 'not '}at least {minimum:g}x"
        )
    reached = value is not None and value >= minimum
    return GateCheck(
        figure="speedup", runtime=row.name, value=value, bound=minimum, reached=reached, text=text
    )


def check_drop(result: AccuracyResult, maximum: float) -> GateCheck:
    """Whether the accuracy of the first runtime that is not PyTorch is at most ``maximum`` points
    below PyTorch's.

    Args:
        result: Of a run over PyTorch and one other runtime.
        maximum: Percentage points.
    """
    by_name = {entry.runtime: entry.figures.accuracy for entry in result.runtimes}
    name = next(name for name in by_name if name != PYTORCH)
    drop = round(100 * (by_name[PYTORCH] - by_name[name]), 9)
    reached = drop <= maximum
    text = (
        f"{name} loses {drop:.2f} points of accuracy against PyTorch FP32 "
        f"({by_name[PYTORCH]:.2%} to {by_name[name]:.2%}), {'' if reached else 'not '}at most {maximum:g}"
    )
    return GateCheck(
        figure="drop", runtime=name, value=drop, bound=maximum, reached=reached, text=text
    )


def _row(result: LatencyResult, runtime: str | None) -> CandidateResult:
    row = result.default if runtime is None else result.candidate(runtime)
    if row is None:
        wanted = "a default runtime" if runtime is None else f"a runtime {runtime!r}"
        names = ", ".join(each.name for each in result.candidates)
        raise GateError(
            f"the result does not have {wanted}; it has {names}; choose one with --runtime"
        )
    return row

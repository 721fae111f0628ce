"""The benchmark gate: whether a run reaches the speed-up and the accuracy that were asked for."""

from __future__ import annotations

import math
from typing import Literal

from motivnet.errors import ConfigError, GateError
from motivnet.schema import Schema
from motivnet_bench.accuracy import PYTORCH, AccuracyResult
from motivnet_bench.latency.result import REFERENCE, LatencyResult, Speedup
from motivnet_bench.report.headline import candidate_label, disturbed_rows


class GateCheck(Schema, frozen=True, kw_only=True):
    """One metric against its bound; ``value`` is None if it could not be measured.

    ``warnings`` are reasons to doubt the value.
    """

    metric: Literal["speedup", "drop"]
    runtime: str
    value: float | None
    bound: float
    passed: bool
    text: str
    warnings: tuple[str, ...] = ()


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
    result: LatencyResult,
    minimum: float,
    *,
    runtime: str | None = None,
    baseline: str = REFERENCE,
) -> GateCheck:
    """Check that a runtime is at least ``minimum`` times as fast as a baseline in every round.

    The slowest round counts and not the median: a lucky round on a busy machine must not pass a
    gate. If the rounds of one side were disturbed, or the machine was busy when the run began, the
    baseline's fastest round is divided by the runtime's slowest one instead, because a disturbed
    baseline would make any runtime look fast.

    Args:
        runtime: Its name; None for the artifact's default runtime.
        baseline: The name of the baseline's row.

    Raises:
        GateError: If the result has no such runtime, or its run was interrupted.
    """
    if result.interrupted_after is not None:
        raise GateError(
            f"the run was interrupted after {result.interrupted_after} of "
            f"{result.settings.rounds} rounds; run it to its end"
        )
    row = result.default if runtime is None else result.candidate(runtime)
    if row is None:
        wanted = "a default runtime" if runtime is None else f"a runtime {runtime!r}"
        names = ", ".join(each.name for each in result.candidates)
        raise GateError(
            f"the result does not have {wanted}; it has {names}; choose one with --runtime"
        )
    compared = result.candidate(baseline)
    ratio = None if row.metrics is None else row.metrics.speedups.get(baseline)
    if ratio is None or compared is None:
        reason = row.error or f"{candidate_label(baseline)} was not measured"
        return GateCheck(
            metric="speedup",
            runtime=row.name,
            value=None,
            bound=minimum,
            passed=False,
            text=f"{row.name} has no speed-up: {reason}",
        )
    disturbed = result.environment.busy or bool(disturbed_rows(row, compared))
    value = ratio.lower_bound if disturbed else ratio.smallest
    return GateCheck(
        metric="speedup",
        runtime=row.name,
        value=value,
        bound=minimum,
        passed=value >= minimum,
        text=_speedup_text(
            f"{row.name} is", ratio, candidate_label(baseline), minimum, disturbed=disturbed
        ),
        warnings=result.warnings if disturbed else (),
    )


def _speedup_text(
    subject: str, ratio: Speedup, baseline: str, minimum: float, *, disturbed: bool
) -> str:
    if not disturbed:
        negation = "" if ratio.smallest >= minimum else "not "
        return (
            f"{subject} {ratio.smallest:.2f}x {baseline} in its slowest round "
            f"(median {ratio.median:.2f}x), {negation}at least {minimum:g}x"
        )
    between = f"{subject} between {ratio.lower_bound:.2f}x and {ratio.upper_bound:.2f}x {baseline}"
    if ratio.lower_bound == ratio.upper_bound:
        between = f"{subject} {ratio.median:.2f}x {baseline} in its only round"
    between += ", measured under load"
    if ratio.lower_bound >= minimum:
        return f"{between}, and at least {minimum:g}x all the same"
    if ratio.upper_bound < minimum:
        return f"{between}, and not at least {minimum:g}x"
    return (
        f"{between}: whether it is at least {minimum:g}x is not known; run again on an idle machine"
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

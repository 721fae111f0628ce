"""The one sentence that a run comes down to."""

from __future__ import annotations

from motivnet_bench.latency.result import CandidateResult, Figures, LatencyResult
from motivnet_bench.report.columns import duration, half_name

CLEARLY = 0.95
"""A runtime is called faster than the default one below this part of its median; less may be chance."""


def verdict_of(result: LatencyResult) -> str:
    """How fast the default runtime is beside PyTorch, and which runtime is faster if one is."""
    row = result.default
    if row is None:
        return "No runtime that runs here passed the gate of the build, so there is no default; the table has the figures."
    if row.figures is None:
        return f"{row.name}, the default runtime, could not be measured: {row.error}."
    return f"{_speed(row.name, row.figures, result)}{_faster(row, row.figures, result)}{_caveat(row, result)}"


def _speed(name: str, figures: Figures, result: LatencyResult) -> str:
    pairs = ((figures.ratio_to_fp32, "PyTorch FP32"), (figures.ratio_to_half, half_name(result)))
    ratios = [f"{ratio.median:.1f}x {baseline}" for ratio, baseline in pairs if ratio is not None]
    batch = result.settings.batch
    per_call = (
        f"{duration(figures.latency.p50)} {'an image' if batch == 1 else f'a batch of {batch}'}"
    )
    if not ratios:
        return f"{name} takes {per_call}; PyTorch could not be measured."
    return f"{name} is {' and '.join(ratios)}, {per_call}."


def _caveat(default: CandidateResult, result: LatencyResult) -> str:
    doubtful = [
        row.name
        for row in result.candidates
        if (row is default or row.role != "runtime")
        and row.figures is not None
        and row.figures.latency.unstable
    ]
    return f" Rough figures: the rounds of {', '.join(doubtful)} differ widely." if doubtful else ""


def _faster(default: CandidateResult, figures: Figures, result: LatencyResult) -> str:
    others = [
        (row.figures.latency.p50, row.name)
        for row in result.candidates
        if row is not default
        and row.figures is not None
        and row.figures.latency.p50 < CLEARLY * figures.latency.p50
    ]
    if not others:
        return ""
    seconds, name = min(others)
    return f" {name} was faster still: {duration(seconds)}."

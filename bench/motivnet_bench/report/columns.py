"""The columns of the latency table, once for the terminal, Markdown and HTML; and how figures are written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from motivnet_bench.latency.result import CandidateResult, Figures, LatencyResult
from motivnet_bench.latency.statistics import Ratio

DASH = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"
FEW_CALLS = 100

BASELINE_NAMES = {
    "pytorch-fp32": "PyTorch FP32",
    "pytorch-bf16": "PyTorch BF16",
    "pytorch-fp16": "PyTorch FP16",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A heading, what it means, and the text of a row's cell; ``brief`` is the terminal's, where it has the column."""

    heading: str
    meaning: str
    cell: Callable[[Figures], str]
    brief: Callable[[Figures], str] | None = None


def speed_columns(result: LatencyResult) -> tuple[Column, ...]:
    """Latencies and speed-ups; the name of the 16-bit baseline is the result's."""
    return (
        _brief("p50", "median latency of a call", lambda f: duration(f.latency.p50)),
        Column(heading="p90", meaning="90th percentile", cell=lambda f: duration(f.latency.p90)),
        _brief("p95", "95th percentile", lambda f: duration(f.latency.p95)),
        _brief("p99", "99th percentile", lambda f: duration(f.latency.p99)),
        Column(heading="mean", meaning="mean latency", cell=lambda f: duration(f.latency.mean)),
        Column(
            heading="dev.",
            meaning="sample standard deviation",
            cell=lambda f: duration(f.latency.deviation),
        ),
        _brief("images/s", "images a second", lambda f: rate(f.images_per_second)),
        _speedup("PyTorch FP32", lambda f: f.ratio_to_fp32),
        _speedup(half_name(result), lambda f: f.ratio_to_half),
    )


def cost_columns() -> tuple[Column, ...]:
    """What a candidate takes besides, how close it is, and how often it was measured."""
    return (
        Column(
            heading="load",
            meaning="import of the backend to open model",
            cell=lambda f: duration(f.load),
        ),
        Column(
            heading="first call", meaning="first inference", cell=lambda f: duration(f.first_call)
        ),
        _brief(
            "memory", "peak resident memory of the process", lambda f: byte_count(f.peak_memory)
        ),
        Column(
            heading="probability difference",
            meaning="largest from PyTorch FP32, on the input of the run",
            cell=lambda f: _or_dash(f.probability_max_abs, ".1e"),
        ),
        Column(
            heading="same label",
            meaning="as PyTorch FP32, on the input of the run",
            cell=lambda f: DASH if f.top1_agrees is None else "yes" if f.top1_agrees else "no",
        ),
        Column(heading="calls", meaning="measured calls", cell=lambda f: str(f.latency.calls)),
        Column(
            heading="rounds vary by",
            meaning="coefficient of variation of the round medians",
            cell=lambda f: f"{f.latency.variation:.1%}",
        ),
    )


def _brief(heading: str, meaning: str, cell: Callable[[Figures], str]) -> Column:
    return Column(heading=heading, meaning=meaning, cell=cell, brief=cell)


def _speedup(baseline: str, ratio_of: Callable[[Figures], Ratio | None]) -> Column:
    return Column(
        heading=f"{TIMES} {baseline.removeprefix('PyTorch ')}",
        meaning=f"times as fast as {baseline}: median over rounds (smallest to largest)",
        cell=lambda f: times(ratio_of(f)),
        brief=lambda f: times(ratio_of(f)).partition(" ")[0],
    )


def half_name(result: LatencyResult) -> str:
    """The 16-bit baseline of the result, in words."""
    row = next((row for row in result.candidates if row.role == "baseline-half"), None)
    return BASELINE_NAMES.get(row.name, row.name) if row else "PyTorch BF16"


def duration(seconds: float) -> str:
    """Seconds with three significant digits, as µs, ms or s."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= 0.9995 * size:
            return f"{significant(seconds / size)} {unit}"
    return f"{significant(seconds / 1e-6)} µs"


def significant(value: float) -> str:
    """Three significant digits without an exponent."""
    digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{digits}f}"


def rate(value: float) -> str:
    """Images a second with three significant digits, also below one."""
    return significant(value) if value >= 1 else f"{value:.3f}"


def times(ratio: Ratio | None) -> str:
    """A speed-up with its range over the rounds."""
    if ratio is None:
        return DASH
    return f"{ratio.median:.2f} ({ratio.smallest:.2f}{DASH}{ratio.largest:.2f})"


def byte_count(size: int) -> str:
    """Bytes as MB or GB."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def row_notes(row: CandidateResult) -> tuple[str, ...]:
    """Marks beside a row's name."""
    gate = {"failed": "failed the gate", "unverified": "not verified"}.get(row.gate or "")
    return tuple(note for note in ("default" if row.default else None, gate) if note)


def footnotes(result: LatencyResult) -> tuple[str, ...]:
    """What a reader has to know to read the table rightly."""
    few = [
        row.name
        for row in result.candidates
        if row.figures and row.figures.latency.calls < FEW_CALLS
    ]
    tail = (
        (
            f"Fewer than {FEW_CALLS} calls ({', '.join(few)}): p95 and p99 are close to the slowest call.",
        )
        if few
        else ()
    )
    return (*tail, *result.warnings)


def _or_dash(value: float | None, form: str) -> str:
    return DASH if value is None else format(value, form)

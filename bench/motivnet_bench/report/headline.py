"""What a latency result comes down to: the default runtime beside the fastest baseline."""

from __future__ import annotations

from motivnet_bench.latency.result import (
    REFERENCE,
    CandidateResult,
    LatencyResult,
    Metrics,
)
from motivnet_bench.report.document import duration

_LABELS = {
    "pytorch": "PyTorch",
    "pytorch-compile": "compiled PyTorch",
    "torch-tensorrt": "Torch-TensorRT",
}


def candidate_label(name: str) -> str:
    """Return ``compiled PyTorch BF16`` for ``pytorch-compile-bf16``; a runtime's name as it is."""
    kind, _, precision = name.rpartition("-")
    return f"{_LABELS[kind]} {precision.upper()}" if kind in _LABELS else name


def latency_summary(result: LatencyResult) -> str:
    """Return how fast the default runtime is beside PyTorch, and how far that can be trusted."""
    return f"{_speed(result)}{_interruption(result)}"


def _speed(result: LatencyResult) -> str:
    row = result.default
    if row is None:
        return "There is no default runtime among the candidates; the table has the metrics."
    if row.metrics is None:
        return f"{row.name}, the default runtime, could not be measured: {row.error}."
    return f"{_beside_baselines(row, row.metrics, result)}{_faster(row.metrics, result)}"


def _beside_baselines(row: CandidateResult, metrics: Metrics, result: LatencyResult) -> str:
    batch_size = result.settings.batch_size
    unit = "image" if batch_size == 1 else f"batch of {batch_size}"
    per_call = f"{duration(metrics.latency.p50)} per {unit}"
    baseline = result.fastest_baseline
    if baseline is None:
        return f"{row.name} takes {per_call}; no baseline could be measured."
    ratio, count = metrics.speedups[baseline.name], len(result.measured_baselines)
    over = candidate_label(baseline.name)
    over += f", the fastest of {count} baselines" if count > 1 else ""
    if disturbed := disturbed_rows(row, baseline):
        low, high = f"{ratio.lower_bound:.1f}x", f"{ratio.upper_bound:.1f}x"
        extent = f"about {low}" if low == high else f"between {low} and {high}"
        return (
            f"Measured under load: {row.name} is {extent} {over}, {per_call}. "
            f"{_disturbance(disturbed, rounds=len(metrics.latency.round_medians))}"
        )
    reference = metrics.speedups.get(REFERENCE)
    if reference is not None and baseline.name != REFERENCE:
        over += f", and {reference.median:.1f}x {candidate_label(REFERENCE)}"
    return f"{row.name} is {ratio.median:.1f}x {over}, {per_call}.{_load(result)}"


def _disturbance(names: list[str], *, rounds: int) -> str:
    named = ", ".join(names)
    if rounds == 1:
        return (
            f"The only round of {named} was disturbed, so that the ratio may be far off; raise "
            "--rounds, or run again on an idle machine."
        )
    return (
        f"The rounds of {named} were disturbed too much to say more; run again on an idle machine."
    )


def disturbed_rows(*rows: CandidateResult) -> list[str]:
    """Return the names of the rows whose rounds differ too much or had to wait for a core."""
    return [row.name for row in rows if row.metrics and row.metrics.disturbed]


def _faster(metrics: Metrics, result: LatencyResult) -> str:
    seconds, name = min(
        (row.metrics.latency.p50, row.name) for row in result.candidates if row.metrics
    )
    if seconds >= 0.95 * metrics.latency.p50:  # not clearly
        return ""
    return f" {name} was faster still: {duration(seconds)}."


def _load(result: LatencyResult) -> str:
    environment = result.environment
    if not environment.busy:
        return ""
    return (
        f" Other processes were busy (load average {environment.load_average:g} "
        f"on {environment.physical_cores} cores)."
    )


def _interruption(result: LatencyResult) -> str:
    if result.interrupted_after is None:
        return ""
    return f" Interrupted after {result.interrupted_after} of {result.settings.rounds} rounds."

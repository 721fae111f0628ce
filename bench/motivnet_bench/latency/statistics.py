"""From the seconds of single calls, kept by round, to the rows and the warnings of a result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from motivnet.prediction import softmax
from motivnet_bench.environment import Environment
from motivnet_bench.latency.candidates import Candidate
from motivnet_bench.latency.result import (
    MAX_VARIATION,
    REFERENCE,
    CandidateResult,
    LatencySummary,
    Metrics,
    Speedup,
)
from motivnet_bench.latency.worker import Opened


@dataclass(slots=True, kw_only=True)
class Measurement:
    """What a candidate process delivered: seconds of its calls by round, or why it failed.

    ``waiting`` are the shares of the rounds in which its threads waited for a core.

    Without an ``error``, ``opened`` is set and no round is empty. After an interruption one
    candidate may have a round more than another.
    """

    candidate: Candidate
    opened: Opened | None = None
    rounds: list[tuple[float, ...]] = field(default_factory=list)
    waiting: list[float] = field(default_factory=list)
    peak_memory: int = 0
    error: str | None = None


def summarise(rounds: Sequence[Sequence[float]]) -> LatencySummary:
    """Summarise calls that were measured in rounds, none of which is empty."""
    calls = np.concatenate([np.asarray(seconds, np.float64) for seconds in rounds])
    quantiles = np.percentile(calls, np.linspace(0, 100, 101))
    medians = tuple(float(np.median(seconds)) for seconds in rounds)
    return LatencySummary(
        calls=len(calls),
        mean=float(calls.mean()),
        deviation=float(calls.std(ddof=1)) if len(calls) > 1 else 0.0,
        p50=float(quantiles[50]),
        p90=float(quantiles[90]),
        p95=float(quantiles[95]),
        p99=float(quantiles[99]),
        round_medians=medians,
        variation=float(np.std(medians, ddof=1) / np.mean(medians)) if len(medians) > 1 else 0.0,
        quantiles=tuple(quantiles.tolist()),
    )


def _speedup(baseline: LatencySummary, candidate: LatencySummary) -> Speedup:
    """Take the speed-up within each round: a machine that slows down slows both sides."""
    rounds = min(len(baseline.round_medians), len(candidate.round_medians))
    ours, theirs = (
        np.asarray(each.round_medians[:rounds], np.float64) for each in (candidate, baseline)
    )
    quotients = theirs / ours
    return Speedup(
        median=float(np.median(quotients)),
        smallest=float(quotients.min()),
        largest=float(quotients.max()),
        lower_bound=float(theirs.min() / ours.max()),
        upper_bound=float(theirs.max() / ours.min()),
    )


def summarise_candidates(
    measurements: Sequence[Measurement], *, batch_size: int
) -> tuple[CandidateResult, ...]:
    """Return one row per measurement, with its speed-ups over the baselines that were measured."""
    baselines = {
        each.candidate.name: each
        for each in measurements
        if each.candidate.role == "baseline" and each.error is None
    }
    return tuple(
        CandidateResult(
            name=each.candidate.name,
            role=each.candidate.role,
            default=each.candidate.default,
            parity=each.candidate.parity,
            compute=each.opened.compute if each.opened else None,
            device=each.opened.device if each.opened else None,
            metrics=_metrics(each, baselines, batch_size=batch_size),
            error=each.error,
        )
        for each in measurements
    )


def _metrics(
    measurement: Measurement, baselines: Mapping[str, Measurement], *, batch_size: int
) -> Metrics | None:
    opened = measurement.opened
    if opened is None or measurement.error is not None:
        return None
    summary = summarise(measurement.rounds)
    difference, agrees, fp32 = None, None, baselines.get(REFERENCE)
    if fp32 is not None and fp32.opened is not None and measurement is not fp32:
        mine, reference = _probabilities(opened), _probabilities(fp32.opened)
        difference = float(np.abs(mine - reference).max())
        agrees = bool((mine.argmax(axis=1) == reference.argmax(axis=1)).all())
    return Metrics(
        latency=summary,
        images_per_second=batch_size / summary.mean,
        load=opened.load,
        compilation=opened.compilation,
        first_call=opened.first_call,
        peak_memory=measurement.peak_memory,
        waiting=max(measurement.waiting, default=None),
        speedups={
            name: _speedup(summarise(baseline.rounds), summary)
            for name, baseline in baselines.items()
        },
        probability_max_abs=difference,
        top1_agrees=agrees,
    )


def _probabilities(opened: Opened) -> NDArray[np.float64]:
    return softmax(np.asarray(opened.logits, np.float32))


def find_warnings(rows: Sequence[CandidateResult], environment: Environment) -> Iterator[str]:
    """Yield the reasons to doubt the metrics, or the candidates."""
    if environment.busy:
        yield (
            "other processes were busy when the run began (load average "
            f"{environment.load_average:g} on {environment.physical_cores} cores); "
            "run again on an idle machine"
        )
    measured = [(row.name, row.metrics) for row in rows if row.metrics is not None]
    doubtful = [
        f"{name} ({metrics.latency.variation:.0%})"
        for name, metrics in measured
        if metrics.latency.unstable
    ]
    if doubtful:
        yield (
            f"not stable, round medians vary by more than {MAX_VARIATION:.0%}: "
            f"{', '.join(doubtful)}; raise --rounds or --seconds, or free the machine"
        )
    waited = [f"{name} ({metrics.waiting:.0%})" for name, metrics in measured if metrics.waited]
    if waited:
        yield (
            f"threads waited for a core, in the worst round: {', '.join(waited)}; other processes "
            "were busy, or --threads is more than the cores"
        )
    for name, metrics in measured:
        difference = metrics.probability_max_abs
        if difference is not None and difference > 0.05:
            yield (
                f"{name} gives a probability {difference:.3f} away from PyTorch FP32 "
                "on the inputs of this run"
            )

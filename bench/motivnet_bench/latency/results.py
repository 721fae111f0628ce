"""From what the candidates did to the rows of the result, and to what a reader should be warned of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from motivnet.prediction import softmax
from motivnet_bench.environment import Environment
from motivnet_bench.latency.candidate_process import Outcome
from motivnet_bench.latency.protocol import Opened
from motivnet_bench.latency.result import CandidateResult, Figures, Role
from motivnet_bench.latency.statistics import MAX_VARIATION, Ratio, Summary, ratio, summarise

MAX_PROBABILITY_DIFFERENCE = 0.05
BUSY_SHARE = 0.5
"""A load average above this part of the cores, before anything was measured, is worth a warning."""


def rows_of(outcomes: Sequence[Outcome], *, batch: int) -> tuple[CandidateResult, ...]:
    """One row per outcome, with its speed-ups over the baselines that held out."""
    fp32, half = _baseline(outcomes, "baseline-fp32"), _baseline(outcomes, "baseline-half")
    return tuple(_row(outcome, batch=batch, fp32=fp32, half=half) for outcome in outcomes)


def warnings_of(rows: Sequence[CandidateResult], environment: Environment) -> tuple[str, ...]:
    """Reasons to doubt the figures, or the candidates."""
    return (*_busy(environment), *_unstable(rows), *_different(rows))


def _baseline(outcomes: Sequence[Outcome], role: Role) -> Outcome | None:
    return next(
        (each for each in outcomes if each.candidate.role == role and each.error is None), None
    )


def _row(
    outcome: Outcome, *, batch: int, fp32: Outcome | None, half: Outcome | None
) -> CandidateResult:
    candidate, opened = outcome.candidate, outcome.opened
    figures = None
    if opened is not None and outcome.error is None:
        figures = _figures(outcome, opened, batch=batch, fp32=fp32, half=half)
    return CandidateResult(
        name=candidate.name,
        role=candidate.role,
        default=candidate.default,
        gate=candidate.gate,
        compute=opened.compute if opened else None,
        device=opened.device if opened else None,
        figures=figures,
        error=outcome.error,
    )


def _figures(
    outcome: Outcome, opened: Opened, *, batch: int, fp32: Outcome | None, half: Outcome | None
) -> Figures:
    summary = summarise(outcome.rounds)
    difference, agrees = _agreement(opened, fp32) if outcome is not fp32 else (None, None)
    return Figures(
        latency=summary,
        images_per_second=batch / summary.mean,
        load=opened.load,
        first_call=opened.first_call,
        peak_memory=outcome.peak_memory,
        ratio_to_fp32=_ratio(fp32, summary),
        ratio_to_half=_ratio(half, summary),
        probability_max_abs=difference,
        top1_agrees=agrees,
    )


def _ratio(baseline: Outcome | None, summary: Summary) -> Ratio | None:
    return (
        None
        if baseline is None
        else ratio(summarise(baseline.rounds).round_medians, summary.round_medians)
    )


def _agreement(opened: Opened, fp32: Outcome | None) -> tuple[float | None, bool | None]:
    if fp32 is None or fp32.opened is None:
        return None, None
    mine, reference = _probabilities(opened), _probabilities(fp32.opened)
    difference = float(np.abs(mine - reference).max())
    return difference, bool((mine.argmax(axis=1) == reference.argmax(axis=1)).all())


def _probabilities(opened: Opened) -> NDArray[np.float64]:
    return softmax(np.asarray(opened.logits, np.float32))


def _busy(environment: Environment) -> Iterator[str]:
    if environment.load_average > BUSY_SHARE * environment.physical_cores:
        yield (
            f"other processes were busy when the run began (load average {environment.load_average:g} on "
            f"{environment.physical_cores} cores); run again on an idle machine"
        )


def _unstable(rows: Sequence[CandidateResult]) -> Iterator[str]:
    doubtful = [
        f"{row.name} ({row.figures.latency.variation:.0%})"
        for row in rows
        if row.figures is not None and row.figures.latency.unstable
    ]
    if doubtful:
        yield (
            f"not stable, round medians vary by more than {MAX_VARIATION:.0%}: {', '.join(doubtful)}; "
            "raise --rounds or --duration, or free the machine"
        )


def _different(rows: Sequence[CandidateResult]) -> Iterator[str]:
    for row in rows:
        difference = None if row.figures is None else row.figures.probability_max_abs
        if difference is not None and difference > MAX_PROBABILITY_DIFFERENCE:
            yield f"{row.name} gives a probability {difference:.3f} away from PyTorch FP32 on the input of this run"

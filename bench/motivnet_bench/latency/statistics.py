"""From the seconds of single calls, kept by round, to the figures of a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MAX_VARIATION = 0.10
"""Round medians that vary more than this (deviation over mean) make a candidate's figures doubtful."""

QUANTILES = 101

Rounds = Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Latencies of one candidate in seconds over all its calls.

    ``deviation`` is the sample standard deviation (0 for a single call); ``quantiles`` are the 0th
    to the 100th percentile in steps of one, interpolated linearly, from which a distribution can be
    drawn again.
    """

    calls: int
    mean: float
    deviation: float
    p50: float
    p90: float
    p95: float
    p99: float
    round_medians: tuple[float, ...]
    quantiles: tuple[float, ...]

    @property
    def variation(self) -> float:
        """Coefficient of variation of the round medians; 0 for a single round."""
        return coefficient_of_variation(self.round_medians)

    @property
    def unstable(self) -> bool:
        """Whether the rounds differ by more than ``MAX_VARIATION``."""
        return self.variation > MAX_VARIATION


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How many times faster than a baseline: the median over the rounds, with the smallest and the largest."""

    median: float
    smallest: float
    largest: float


def summarise(rounds: Rounds) -> Summary:
    """The figures of calls measured in rounds, none of which is empty."""
    calls = np.concatenate([np.asarray(seconds, np.float64) for seconds in rounds])
    quantiles = np.percentile(calls, np.linspace(0, 100, QUANTILES))
    return Summary(
        calls=len(calls),
        mean=float(calls.mean()),
        deviation=float(calls.std(ddof=1)) if len(calls) > 1 else 0.0,
        p50=float(quantiles[50]),
        p90=float(quantiles[90]),
        p95=float(quantiles[95]),
        p99=float(quantiles[99]),
        round_medians=tuple(float(np.median(seconds)) for seconds in rounds),
        quantiles=tuple(float(value) for value in quantiles),
    )


def ratio(baseline_medians: Sequence[float], candidate_medians: Sequence[float]) -> Ratio:
    """The speed-up over a baseline, taken within each round.

    Both sides of a quotient were measured within the same few seconds, so that a machine that slows
    down during the run slows both.
    """
    quotients = np.asarray(baseline_medians, np.float64) / np.asarray(candidate_medians, np.float64)
    return Ratio(
        median=float(np.median(quotients)),
        smallest=float(quotients.min()),
        largest=float(quotients.max()),
    )


def coefficient_of_variation(values: Sequence[float]) -> float:
    """Sample standard deviation over mean; 0 for fewer than two values."""
    if len(values) < 2:
        return 0.0
    return float(np.std(values, ddof=1) / np.mean(values))

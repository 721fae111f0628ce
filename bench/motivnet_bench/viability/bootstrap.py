"""How far figures of two sets of feature vectors depend on the very images that were drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from motivnet.progress import progress
from motivnet_bench.viability.similarity import Floats, Moments, moments

CONFIDENCE = 0.95

Figure = Callable[[Moments, Moments], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure, and the interval in which 95 % of its values over bootstrap samples lie."""

    value: float
    low: float
    high: float

    @property
    def inside(self) -> bool:
        """Whether the figure lies in its interval; of a biased figure it need not."""
        return self.low <= self.value <= self.high


def estimates(
    first: Floats, second: Floats, figures: Mapping[str, Figure], *, resamples: int, seed: int
) -> dict[str, Estimate]:
    """Each figure of two sets of features ``(N, D)`` with its percentile interval (Efron 1979).

    A sample draws as many vectors from each set as it has, with replacement; all figures see the
    same samples. Repeated vectors make a sample less varied than its set, so that a distance
    between samples is larger on average than between the sets: with few vectors the whole interval
    may lie above the figure.
    """
    random = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {name: [] for name in figures}
    with progress("bootstrap", total=resamples) as advance:
        for _ in range(resamples):
            sampled = (_sampled(first, random), _sampled(second, random))
            for name, figure in figures.items():
                drawn[name].append(figure(*sampled))
            advance(1)
    whole = (moments(first), moments(second))
    return {name: _estimate(figure(*whole), drawn[name]) for name, figure in figures.items()}


def _sampled(features: Floats, random: np.random.Generator) -> Moments:
    indices = random.integers(len(features), size=len(features))
    return moments(features, np.bincount(indices, minlength=len(features)))


def _estimate(value: float, drawn: list[float]) -> Estimate:
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return Estimate(value=value, low=float(low), high=float(high))

from __future__ import annotations

import pytest

from motivnet_bench.latency.statistics import (
    MAX_VARIATION,
    coefficient_of_variation,
    ratio,
    summarise,
)


def test_a_summary_has_the_percentiles_of_all_calls_of_all_rounds() -> None:
    summary = summarise([list(range(51)), list(range(51, 101))])
    assert (summary.p50, summary.p90, summary.p95, summary.p99) == pytest.approx((50, 90, 95, 99))
    assert summary.calls == 101
    assert summary.mean == 50
    assert summary.quantiles == pytest.approx(tuple(range(101)))
    assert summary.round_medians == (25, 75.5)


def test_the_deviation_is_that_of_a_sample() -> None:
    assert summarise([[1.0, 3.0]]).deviation == pytest.approx(2**0.5)


def test_a_single_call_deviates_by_nothing() -> None:
    assert summarise([[1.5]]).deviation == 0


def test_a_ratio_is_taken_within_each_round() -> None:
    found = ratio([1.0, 10.0, 3.0], [0.5, 2.0, 1.0])
    assert (found.median, found.smallest, found.largest) == (3.0, 2.0, 5.0)


def test_a_slow_round_of_both_sides_leaves_the_ratio_alone() -> None:
    assert ratio([2.0, 20.0, 2.0], [1.0, 10.0, 1.0]).largest == 2.0


@pytest.mark.parametrize(
    ("medians", "variation"),
    [([5.0], 0.0), ([2.0, 2.0, 2.0], 0.0), ([1.0, 3.0], 2**0.5 / 2), ([9.0, 10.0, 11.0], 0.1)],
)
def test_the_coefficient_of_variation_is_deviation_over_mean(
    medians: list[float], variation: float
) -> None:
    assert coefficient_of_variation(medians) == pytest.approx(variation)


@pytest.mark.parametrize(("drift", "unstable"), [(0.0, False), (0.02, False), (0.2, True)])
def test_drifting_rounds_are_unstable(drift: float, unstable: bool) -> None:
    summary = summarise([[1.0 + drift * index] * 3 for index in range(5)])
    assert summary.unstable is unstable
    assert (summary.variation > MAX_VARIATION) is unstable

from __future__ import annotations

import pytest

from motivnet_bench.latency.statistics import (
    find_warnings,
    summarise,
    summarise_candidates,
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


@pytest.mark.parametrize(
    ("medians", "variation"),
    [([5.0], 0.0), ([2.0, 2.0, 2.0], 0.0), ([1.0, 3.0], 2**0.5 / 2), ([9.0, 10.0, 11.0], 0.1)],
)
def test_the_variation_is_the_deviation_of_the_round_medians_over_their_mean(
    medians: list[float], variation: float
) -> None:
    assert summarise([[median] for median in medians]).variation == pytest.approx(variation)


@pytest.mark.parametrize(("drift", "unstable"), [(0.0, False), (0.02, False), (0.2, True)])
def test_drifting_rounds_are_unstable(drift: float, unstable: bool) -> None:
    assert summarise([[1.0 + drift * index] * 3 for index in range(5)]).unstable is unstable


def test_a_speedup_is_the_median_of_the_quotients_of_the_rounds(plant_measurement):
    measurements = [
        plant_measurement("pytorch-fp32", ((8.0,), (80.0,), (8.0,))),
        plant_measurement("pytorch-bf16", ((4.0,), (4.0,), (4.0,))),
        plant_measurement("openvino", ((4.0,), (10.0,), (2.0,))),
    ]
    baseline, _, row = summarise_candidates(measurements, batch_size=1)
    fp32, half = (row.metrics.speedups[f"pytorch-{name}"] for name in ("fp32", "bf16"))
    assert (fp32.median, fp32.smallest, fp32.largest) == (4, 2, 8)
    assert (half.median, half.smallest, half.largest) == (1, 0.4, 2)
    itself = baseline.metrics.speedups["pytorch-fp32"]
    assert (itself.smallest, itself.median, itself.largest) == (1, 1, 1)


def test_images_per_second_count_the_batch(plant_measurement):
    [row] = summarise_candidates([plant_measurement("openvino", ((2.0,), (2.0,)))], batch_size=8)
    assert row.metrics.images_per_second == 4


def test_a_failed_candidate_is_a_row_with_its_reason_and_no_metrics(plant_measurement):
    failed = plant_measurement("openvino", error="no answer within 5 s")
    [row] = summarise_candidates([failed], batch_size=1)
    assert (row.metrics, row.error) == (None, "no answer within 5 s")


def test_without_the_fp32_baseline_there_is_no_speedup_and_no_comparison(plant_measurement):
    measurements = [
        plant_measurement("pytorch-fp32", error="killed"),
        plant_measurement("openvino"),
    ]
    metrics = summarise_candidates(measurements, batch_size=1)[1].metrics
    assert metrics.speedups == {}
    assert metrics.probability_max_abs is None


@pytest.mark.parametrize(
    ("logits", "agrees"), [((1.0, 0.0), True), ((0.6, 0.4), True), ((0.0, 1.0), False)]
)
def test_a_candidate_is_compared_with_pytorch_on_the_inputs(plant_measurement, logits, agrees):
    measurements = [
        plant_measurement("pytorch-fp32"),
        plant_measurement("openvino", logits=logits),
    ]
    baseline, row = summarise_candidates(measurements, batch_size=1)
    assert row.metrics.top1_agrees is agrees
    assert (row.metrics.probability_max_abs == 0) is (logits == (1.0, 0.0))
    assert baseline.metrics.top1_agrees is None


def test_drift_raises_a_warning_that_names_the_candidate(plant_measurement, environment):
    measurements = [
        plant_measurement("steady", ((1.0,), (1.01,))),
        plant_measurement("drifting", ((1.0,), (1.5,))),
    ]
    [warning] = find_warnings(summarise_candidates(measurements, batch_size=1), environment)
    assert "drifting (28%)" in warning
    assert "steady" not in warning


def test_other_probabilities_than_those_of_pytorch_raise_a_warning(plant_measurement, environment):
    measurements = [
        plant_measurement("pytorch-fp32"),
        plant_measurement("wrong", logits=(0.0, 1.0)),
        plant_measurement("right"),
    ]
    [warning] = find_warnings(summarise_candidates(measurements, batch_size=1), environment)
    assert warning.startswith("wrong gives a probability 0.462 away")


def test_threads_that_waited_for_a_core_raise_a_warning(plant_measurement, environment):
    measurements = [
        plant_measurement("disturbed", waiting=(0.02, 0.4)),
        plant_measurement("quiet", waiting=(0.02, 0.01)),
        plant_measurement("unknown"),
    ]
    rows = summarise_candidates(measurements, batch_size=1)
    assert [row.metrics.waiting for row in rows] == [0.4, 0.02, None]
    [warning] = find_warnings(rows, environment)
    assert warning.startswith("threads waited for a core, in the worst round: disturbed (40%);")


def test_a_busy_machine_raises_a_warning(environment, change):
    [warning] = find_warnings((), change(environment, load_average=1.5))
    assert "load average 1.5 on 2 cores" in warning

from __future__ import annotations

import dataclasses

import pytest

from motivnet_bench.environment import read_environment
from motivnet_bench.latency.results import rows_of, warnings_of

IDLE = dataclasses.replace(read_environment(), load_average=0.0, physical_cores=2)


def test_a_speed_up_is_the_median_of_the_quotients_of_the_rounds(plant_outcome):
    outcomes = [
        plant_outcome("pytorch-fp32", ((8.0,), (80.0,), (8.0,)), role="baseline-fp32"),
        plant_outcome("pytorch-bf16", ((4.0,), (4.0,), (4.0,)), role="baseline-half"),
        plant_outcome("openvino", ((4.0,), (10.0,), (2.0,))),
    ]
    figures = rows_of(outcomes, batch=1)[2].figures
    assert (
        figures.ratio_to_fp32.median,
        figures.ratio_to_fp32.smallest,
        figures.ratio_to_fp32.largest,
    ) == (4, 2, 8)
    assert (
        figures.ratio_to_half.median,
        figures.ratio_to_half.smallest,
        figures.ratio_to_half.largest,
    ) == (1, 0.4, 2)


def test_images_a_second_count_the_batch(plant_outcome):
    [row] = rows_of([plant_outcome("openvino", ((2.0,), (2.0,)))], batch=8)
    assert row.figures.images_per_second == 4


def test_a_failed_candidate_is_a_row_with_its_reason_and_no_figures(plant_outcome):
    [row] = rows_of([plant_outcome("openvino", error="no answer within 5 s")], batch=1)
    assert (row.figures, row.error) == (None, "no answer within 5 s")


def test_without_the_fp32_baseline_there_is_no_speed_up_and_no_comparison(plant_outcome):
    outcomes = [
        plant_outcome("pytorch-fp32", role="baseline-fp32", error="killed"),
        plant_outcome("openvino"),
    ]
    figures = rows_of(outcomes, batch=1)[1].figures
    assert (figures.ratio_to_fp32, figures.ratio_to_half, figures.probability_max_abs) == (
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("logits", "agrees"), [((1.0, 0.0), True), ((0.6, 0.4), True), ((0.0, 1.0), False)]
)
def test_a_candidate_is_compared_with_pytorch_on_the_input(plant_outcome, logits, agrees):
    outcomes = [
        plant_outcome("pytorch-fp32", role="baseline-fp32"),
        plant_outcome("openvino", logits=logits),
    ]
    baseline, row = rows_of(outcomes, batch=1)
    assert row.figures.top1_agrees is agrees
    assert (row.figures.probability_max_abs == 0) is (logits == (1.0, 0.0))
    assert baseline.figures.top1_agrees is None


def test_planted_drift_raises_a_warning_that_names_the_candidate(plant_outcome):
    outcomes = [
        plant_outcome("steady", ((1.0,), (1.01,))),
        plant_outcome("drifting", ((1.0,), (1.5,))),
    ]
    [warning] = warnings_of(rows_of(outcomes, batch=1), IDLE)
    assert "drifting (28%)" in warning
    assert "steady" not in warning


def test_other_probabilities_than_those_of_pytorch_raise_a_warning(plant_outcome):
    outcomes = [
        plant_outcome("pytorch-fp32", role="baseline-fp32"),
        plant_outcome("wrong", logits=(0.0, 1.0)),
        plant_outcome("right"),
    ]
    [warning] = warnings_of(rows_of(outcomes, batch=1), IDLE)
    assert warning.startswith("wrong gives a probability 0.462 away")


def test_a_busy_machine_raises_a_warning():
    [warning] = warnings_of((), dataclasses.replace(IDLE, load_average=1.5))
    assert "load average 1.5 on 2 cores" in warning

from __future__ import annotations

import pytest

from motivnet.errors import ConfigError, GateError
from motivnet.metrics import ClassificationMetrics
from motivnet_bench.accuracy import AccuracyResult, RuntimeAccuracy
from motivnet_bench.gate import GateResult, check_bounds, check_drop, check_speedup
from motivnet_bench.latency.statistics import summarise_candidates


def accuracies(**by_runtime: float) -> AccuracyResult:
    def metrics(accuracy: float) -> ClassificationMetrics:
        return ClassificationMetrics(
            images=100,
            accuracy=accuracy,
            uar=accuracy,
            macro_precision=accuracy,
            macro_f1=accuracy,
            auroc=None,
            loss=0.0,
            recall={},
            confusion=(),
            absent=(),
        )

    return AccuracyResult(
        artifact="demo",
        dataset="val",
        dataset_format="class folders",
        split=None,
        labels=(),
        runtimes=tuple(
            RuntimeAccuracy(runtime=name, compute="float32", metrics=metrics(value))
            for name, value in by_runtime.items()
        ),
        published=(),
        flips=(),
        unreadable={},
        skipped={},
    )


@pytest.mark.parametrize(("minimum", "passed"), [(3.9, True), (4.0, True), (4.1, False)])
def test_the_default_runtime_must_reach_the_speed_up(plant_result, minimum, passed):
    check = check_speedup(plant_result(2.0), minimum)
    assert (check.passed, check.value, check.runtime) == (passed, 4.0, "openvino")


@pytest.fixture
def plant_rounds(plant_result, plant_measurement):
    """A result of these rounds of PyTorch FP32 and of the default runtime."""

    def plant(baseline, runtime, **changes):
        measurements = [
            plant_measurement("pytorch-fp32", [(seconds,) for seconds in baseline]),
            plant_measurement("openvino", [(seconds,) for seconds in runtime], default=True),
        ]
        rows = summarise_candidates(measurements, batch_size=1)
        return plant_result(candidates=rows, **changes)

    return plant


@pytest.mark.parametrize(
    ("minimum", "passed", "said"),
    [
        (3.8, True, "and at least 3.8x all the same"),
        (4.5, False, "whether it is at least 4.5x is not known; run again on an idle machine"),
        (21, False, "and not at least 21x"),
    ],
)
def test_a_disturbed_baseline_does_not_help_a_runtime_through_the_gate(
    plant_rounds, minimum, passed, said
):
    # In each of its rounds the runtime is at least 5 times as fast as the baseline beside it.
    result = plant_rounds((40.0, 10.0, 40.0), (2.0, 2.0, 2.5), warnings=("not stable",))
    check = check_speedup(result, minimum)
    assert check.passed is passed
    assert check.text.startswith("openvino is between 4.00x and 20.00x PyTorch FP32, measured")
    assert check.text.endswith(said)
    assert check.warnings == ("not stable",)


def test_a_busy_machine_makes_the_gate_cautious(plant_rounds, environment, change):
    rounds = (8.0, 8.4), (2.0, 2.1)
    assert check_speedup(plant_rounds(*rounds), 4.0).passed
    busy = change(environment, load_average=1.5)
    check = check_speedup(plant_rounds(*rounds, environment=busy), 4.0)
    assert not check.passed
    assert "measured under load: whether it is at least 4x is not known" in check.text


def test_one_round_has_no_range(plant_rounds, environment, change):
    busy = change(environment, load_average=1.5)
    check = check_speedup(plant_rounds((8.0,), (2.0,), environment=busy), 2.0)
    assert check.text.startswith("openvino is 4.00x PyTorch FP32 in its only round, measured under")


@pytest.mark.parametrize(("waiting", "passed"), [((0.02, 0.09), True), ((0.02, 0.3), False)])
def test_rounds_that_waited_for_a_core_make_the_gate_cautious(
    plant_result, plant_measurement, waiting, passed
):
    measurements = [
        plant_measurement("pytorch-fp32", ((8.0,), (8.4,)), waiting=waiting),
        plant_measurement("openvino", ((2.0,), (2.1,)), default=True),
    ]
    rows = summarise_candidates(measurements, batch_size=1)
    assert check_speedup(plant_result(candidates=rows), 4.0).passed is passed


def test_steady_rounds_pass_without_a_warning(plant_rounds):
    check = check_speedup(plant_rounds((8.0, 8.1), (2.0, 2.0), warnings=("about accuracy",)), 4.0)
    assert check.passed
    assert check.warnings == ()


def test_an_interrupted_run_passes_no_gate(plant_result):
    with pytest.raises(GateError, match="interrupted after 1 of 2 rounds; run it to its end"):
        check_speedup(plant_result(interrupted_after=1), 0.1)


def test_a_gate_may_be_over_another_baseline(plant_result):
    check = check_speedup(plant_result(2.0), 1.5, baseline="pytorch-bf16")
    assert (check.passed, check.value) == (True, 2.0)
    assert "2.00x PyTorch BF16" in check.text
    check = check_speedup(plant_result(2.0), 1.5, baseline="pytorch-compile-bf16")
    assert not check.passed
    assert check.text == "openvino has no speed-up: compiled PyTorch BF16 was not measured"


def test_a_runtime_that_fell_out_does_not_reach_anything(plant_result):
    check = check_speedup(plant_result(), 0.1, runtime="onnxruntime")
    assert not check.passed
    assert "its process ended with status 3" in check.text


def test_a_runtime_that_is_not_in_the_result_is_an_error(plant_result):
    with pytest.raises(GateError, match="does not have a runtime 'tensorrt'; it has pytorch-fp32"):
        check_speedup(plant_result(), 1.0, runtime="tensorrt")


@pytest.mark.parametrize(
    ("artifact", "maximum", "passed"),
    [(0.90, 1.0, True), (0.89, 1.0, True), (0.88, 1.0, False), (0.95, 0.0, True)],
)
def test_the_loss_of_accuracy_is_counted_in_points(artifact, maximum, passed):
    check = check_drop(accuracies(pytorch=0.90, openvino=artifact), maximum)
    assert check.passed is passed
    assert check.value == pytest.approx(90 - 100 * artifact)


def test_every_check_that_did_not_pass_is_named(plant_result):
    checks = (
        check_speedup(plant_result(), 9.0),
        check_drop(accuracies(pytorch=0.9, openvino=0.8), 1.0),
    )
    with pytest.raises(
        GateError, match=r"not at least 9x; openvino loses 10\.00 points .* not at most 1"
    ):
        GateResult(passed=False, checks=checks).require()


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ({"min_speedup": None, "max_drop": None}, "nothing to check"),
        ({"min_speedup": 0.0, "max_drop": None}, "--min-speedup"),
        ({"min_speedup": float("nan"), "max_drop": None}, "--min-speedup"),
        ({"min_speedup": None, "max_drop": -1.0}, "--max-drop"),
        ({"min_speedup": None, "max_drop": float("nan")}, "--max-drop"),
    ],
)
def test_bounds_without_sense_are_refused(bounds, said):
    with pytest.raises(ConfigError, match=said):
        check_bounds(**bounds)

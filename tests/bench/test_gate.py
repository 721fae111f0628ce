from __future__ import annotations

import pytest

from motivnet.errors import ConfigError, GateError
from motivnet.metrics import ClassificationMetrics
from motivnet_bench.accuracy import AccuracyResult, RuntimeAccuracy
from motivnet_bench.gate import GateResult, check_bounds, check_drop, check_speedup


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

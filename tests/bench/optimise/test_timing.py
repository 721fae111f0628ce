"""Times of rounds beside those of the full model."""

from __future__ import annotations

import msgspec
import pytest

from motivnet_bench.latency.candidates import Candidate
from motivnet_bench.latency.statistics import Measurement
from motivnet_bench.latency.worker import ArtifactModel
from motivnet_bench.optimise.measuring import fastest_pair
from motivnet_bench.optimise.result import Pair, Timing, Variant
from motivnet_bench.optimise.timing import timings


def measurement(rounds: list[list[float]], *, error: str | None = None) -> Measurement:
    model = ArtifactModel(folder="none", runtime="openvino")
    return Measurement(
        candidate=Candidate(name="any", role="runtime", model=model),
        rounds=[tuple(calls) for calls in rounds],
        waiting=[0.0] * len(rounds),
        peak_memory=1000,
        error=error,
    )


def timing_of(full: list[list[float]], own: list[list[float]]) -> Timing:
    _, (timing, reason) = timings([measurement(full), measurement(own)])
    assert timing is not None, reason
    return timing


def test_full_model_is_once_as_fast_as_itself() -> None:
    [(timing, _)] = timings([measurement([[0.5, 0.6], [0.7]])])

    assert timing is not None
    assert (timing.speedup.smallest, timing.speedup.median, timing.speedup.largest) == (1, 1, 1)


def test_ratio_is_taken_within_the_rounds() -> None:
    """A machine that slows down from round to round slows both."""
    timing = timing_of([[0.2], [0.4], [0.8]], [[0.1], [0.2], [0.4]])

    assert timing.speedup.smallest == timing.speedup.largest == pytest.approx(2)
    assert timing.seconds == pytest.approx(0.2)
    assert timing.disturbed


def test_calls_that_other_processes_delayed_do_not_count() -> None:
    quiet = timing_of([[0.2] * 20] * 3, [[0.1] * 20] * 3)
    busy = timing_of([[0.2] * 5 + [0.9] * 15] * 3, [[0.1] * 5 + [2.0] * 15] * 3)

    assert busy.speedup == quiet.speedup
    assert busy.seconds == quiet.seconds == pytest.approx(0.1)


def test_failure_of_one_is_told_and_of_the_full_model_by_its_name() -> None:
    works, fails = measurement([[0.1]]), measurement([], error="no memory")

    assert timings([works, fails])[1] == (None, "no memory")
    assert timings([fails, works])[1] == (None, "full model: no memory")


def variant(name: str, *, default: bool, smallest: float, largest: float) -> Variant:
    median = (smallest + largest) / 2
    timing = timing_of([[1.0]], [[1.0]])
    speedup = msgspec.structs.replace(
        timing.speedup, median=median, smallest=smallest, largest=largest
    )
    return Variant(
        pair=Pair(precision="fp32", runtime=name),
        default=default,
        timing=msgspec.structs.replace(timing, speedup=speedup),
    )


@pytest.mark.parametrize(
    ("smallest", "largest", "chosen"),
    [(1.0, 9.0, "openvino"), (1.3, 1.5, "onnxruntime"), (0.5, 0.6, "openvino")],
)
def test_other_runtime_than_the_default_must_be_faster_in_every_round(
    smallest: float, largest: float, chosen: str
) -> None:
    default = variant("openvino", default=True, smallest=0.9, largest=1.1)
    other = variant("onnxruntime", default=False, smallest=smallest, largest=largest)

    assert fastest_pair((default, other)).runtime == chosen

"""A training that was interrupted and resumed comes to the same bits as one that was not."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(300)

KINDS = ("SIGTERM", "SIGKILL", "exception")
STATUS = {"SIGTERM": 143, "SIGKILL": -9, "exception": 1}
PLACES = ("in a training batch", "before the validation", "in the validation")
CALLS = {
    "in a training batch": 14,
    "before the validation": 2,
    "in the validation": 8,
    "before the epoch is kept": 2,
}
QUICK = (0, 4, 8, 10, 14, 15, 20, 21, 25, 29)
"""Those of the 30 that are always tried: every kind at every place, with and without workers."""


def interruption(number: int) -> tuple[dict[str, Any], list[str]]:
    """The fault and the options of one of the 30; each kind comes three times at each place."""
    draw = random.Random(number)
    place = PLACES[number // 3 % 3]
    if place == "before the validation" and draw.random() < 0.5:
        place = "before the epoch is kept"
    kind, calls = KINDS[number % 3], CALLS[place]
    if kind == "SIGTERM" and place == "before the epoch is kept":
        calls = 1  # at the end of the last epoch there is nothing left to stop
    fault = {"place": place, "call": draw.randint(1, calls), "kind": kind}
    workers = ["--workers", "2"] if number // 9 % 2 else []
    return fault, [*workers, "--checkpoint-minutes", str(draw.choice([0, 10]))]


def test_a_training_has_trained(uninterrupted: Any) -> None:
    """What the others compare with is no trivial result."""
    moments = [value for name, value in uninterrupted.values.items() if name.endswith("exp_avg")]
    assert len(moments) > 20
    assert all(any(value[2]) for value in moments)
    assert uninterrupted.values[".state.progress.steps"] == 8


@pytest.mark.parametrize("options", [["--workers", "2"], ["--checkpoint-minutes", "0"]])
def test_neither_workers_nor_savings_change_the_outcome(
    options: list[str], trainings: Any, uninterrupted: Any, tmp_path: Path
) -> None:
    assert trainings.fit(tmp_path / "run", *options).status == 0
    assert not uninterrupted.differences(tmp_path / "run")


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(number, marks=[] if number in QUICK else [pytest.mark.slow])
        for number in range(30)
    ],
)
def test_a_resumed_training_comes_to_the_same_bits(
    number: int, trainings: Any, uninterrupted: Any, tmp_path: Path
) -> None:
    fault, options = interruption(number)
    interrupted = trainings.fit(tmp_path / "run", *options, fault=fault)
    assert interrupted.status == STATUS[fault["kind"]], interrupted.said
    assert interrupted.alone
    resumed = trainings.fit(tmp_path / "run", *options, "--resume")
    assert (resumed.status, resumed.alone) == (0, True), resumed.said
    assert not uninterrupted.differences(tmp_path / "run")


def test_a_training_interrupted_again_and_again_comes_to_the_same_bits(
    trainings: Any, uninterrupted: Any, tmp_path: Path
) -> None:
    """Several times in one epoch, where each counts on from the last."""
    options = ["--checkpoint-minutes", "0", "--resume"]
    for call in (4, 3, 4, 2, 3):
        fault = {"place": "in a training batch", "call": call, "kind": "SIGKILL"}
        assert trainings.fit(tmp_path / "run", *options, fault=fault).status == STATUS["SIGKILL"]
    assert trainings.fit(tmp_path / "run", *options).status == 0
    assert not uninterrupted.differences(tmp_path / "run")


def test_a_training_that_ends_early_ends_at_the_same_epoch_after_an_interruption(
    trainings: Any, tmp_path: Path
) -> None:
    options = ["--epochs", "12", "--patience", "1", "--lr", "0.05", "--encoder-lr", "0.05"]
    assert trainings.fit(tmp_path / "whole", *options).status == 0
    history = json.loads((tmp_path / "whole" / "summary.json").read_text())["history"]
    assert 2 <= len(history) < 12
    for place in ("before the validation", "before the epoch is kept"):
        run = tmp_path / place.replace(" ", "-")
        fault = {"place": place, "call": len(history), "kind": "SIGKILL"}
        assert trainings.fit(run, *options, "--checkpoint-minutes", "0", fault=fault).status == -9
        assert trainings.fit(run, *options, "--checkpoint-minutes", "0", "--resume").status == 0
        assert json.loads((run / "summary.json").read_text())["history"] == history
        for name in ("best.safetensors", "last.safetensors", "metrics.csv"):
            assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()

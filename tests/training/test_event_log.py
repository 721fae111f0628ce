"""TensorBoard's file of a real training, read back."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    log = EventAccumulator(str(folder))
    log.Reload()
    return {
        tag: [(event.step, event.value) for event in log.Scalars(tag)]
        for tag in log.Tags()["scalars"]
    }


def test_every_step_and_every_epoch_is_in_the_log(trainings: Any, tmp_path: Path) -> None:
    assert trainings.fit(tmp_path / "run").status == 0
    history = json.loads((tmp_path / "run" / "summary.json").read_bytes())["history"]
    found = events(tmp_path / "run" / "tensorboard")
    assert [step for step, _ in found["rate/decoder"]] == list(range(1, 9))
    assert [step for step, _ in found["epoch/val_loss"]] == [4, 8]
    for (_, value), epoch in zip(found["epoch/val_loss"], history, strict=True):
        assert math.isclose(value, epoch["val_loss"], rel_tol=1e-6)


def test_an_epoch_whose_validation_was_interrupted_is_in_the_log(
    trainings: Any, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    fault = {"place": "in the validation", "call": 1, "kind": "SIGTERM"}
    assert trainings.fit(run, fault=fault).status == 143
    assert trainings.fit(run, "--resume").status == 0
    assert {step for step, _ in events(run / "tensorboard")["epoch/val_loss"]} == {4, 8}


def test_a_log_that_cannot_be_written_is_no_reason_to_stop(trainings: Any, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    trainings.fit(tmp_path / "before")
    shutil.copy(tmp_path / "before" / "run.json", tmp_path / "run")
    (tmp_path / "run" / "tensorboard").write_text("in the way")
    ended = trainings.fit(tmp_path / "run")
    assert ended.status == 0, ended.said
    assert "tensorboard cannot be written" in ended.said
    assert (tmp_path / "run" / "best.safetensors").exists()

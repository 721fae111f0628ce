"""A training that is asked to stop saves where it stands, says so, and ends soon."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from motivnet_training.checkpointing import read_state

pytestmark = pytest.mark.timeout(300)

BATCHES, STEPS = 7, 4
"""Of an epoch; every second batch ends a step of the optimizer, and so does the last."""
QUICK = (1, 4, 7, 14)


def saved_steps(run: Path) -> int:
    """Steps of the optimizer in the state."""
    return int(read_state(run / "last.ckpt")["progress"]["steps"])


def stopped(said: str) -> str:
    """The one line about the stop, which is the last."""
    lines = [line for line in said.splitlines() if not line.startswith("epoch ")]
    assert len(lines) == 1, said
    return lines[0]


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(call, marks=[] if call in QUICK else [pytest.mark.slow])
        for call in range(1, 15)
    ],
)
def test_sigterm_saves_with_at_most_one_step_lost_and_ends_with_143(
    call: int, trainings: Any, tmp_path: Path
) -> None:
    run, (epoch, batch) = tmp_path / "run", divmod(call - 1, BATCHES)
    done = STEPS * epoch + batch // 2
    ended = trainings.fit(
        run, fault={"place": "in a training batch", "call": call, "kind": "SIGTERM"}
    )
    assert (ended.status, ended.alone) == (143, True), ended.said
    assert done <= saved_steps(run) <= done + 1
    place = f"epoch {epoch + 1}, step {saved_steps(run)}"
    assert stopped(
        ended.said
    ) == f"error: the training was asked to stop in {place}: saved {run / 'last.ckpt'}; " + (
        "continue with --resume"
    )


@pytest.mark.parametrize("place", ["in a training batch", "in the validation"])
@pytest.mark.parametrize(
    ("kind", "status"), [("SIGTERM to all", 143), ("SIGINT to all", 130), ("SIGINT", 130)]
)
def test_a_signal_to_the_workers_too_is_no_other_thing(
    kind: str, status: int, place: str, trainings: Any, tmp_path: Path
) -> None:
    """As a terminal sends Ctrl-C, and a batch system SIGTERM."""
    run = tmp_path / "run"
    ended = trainings.fit(run, "--workers", "2", fault={"place": place, "call": 3, "kind": kind})
    assert (ended.status, ended.alone) == (status, True), ended.said
    assert "asked to stop" in stopped(ended.said)
    assert saved_steps(run) in (1, 2, STEPS)


def test_a_second_sigterm_changes_nothing(trainings: Any, tmp_path: Path) -> None:
    fault = {"place": "in the validation", "call": 1, "kind": "SIGTERM"}
    assert trainings.fit(tmp_path / "run", fault=fault).status == 143
    fault = {"place": "in a training batch", "call": 4, "kind": "SIGTERM", "twice": True}
    ended = trainings.fit(tmp_path / "other", fault=fault)
    assert ended.status == 143
    assert saved_steps(tmp_path / "other") == 2


def test_a_stop_in_the_validation_that_a_resumed_training_begins_with_keeps_the_state(
    trainings: Any, uninterrupted: Any, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    for place in ("before the validation", "in the validation"):
        for kind, status in (("SIGKILL", -9), ("SIGTERM", 143)):
            fault = {"place": place, "call": 1, "kind": kind}
            ended = trainings.fit(run, "--checkpoint-minutes", "0", "--resume", fault=fault)
            assert ended.status == status, ended.said
            assert saved_steps(run) == STEPS
    assert trainings.fit(run, "--resume").status == 0
    assert not uninterrupted.differences(run)


def test_a_signal_before_the_training_ends_it_at_once(trainings: Any, tmp_path: Path) -> None:
    """There is nothing to save, and other ranks may never come."""
    fault = {"place": "before the training", "call": 1, "kind": "SIGTERM"}
    assert trainings.fit(tmp_path / "run", fault=fault).status == -signal.SIGTERM
    assert not (tmp_path / "run" / "last.ckpt").exists()
    assert trainings.fit(tmp_path / "run", "--resume").status == 0


def test_a_rank_that_waits_for_another_ends_on_sigterm(trainings: Any, tmp_path: Path) -> None:
    command = [
        Path(sys.executable).with_name("motivnet-train"),
        *trainings.arguments(tmp_path / "run", "--devices", "2"),
    ]
    # As a batch system would start the first rank, whose second one never comes.
    ranks = {"LOCAL_RANK": "0", "NODE_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    with socket.create_server(("127.0.0.1", 0)) as server:
        ranks["MASTER_PORT"] = str(server.getsockname()[1])
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=os.environ | ranks) as process:
        try:
            while not psutil.Process(process.pid).net_connections("tcp"):
                assert process.poll() is None
                time.sleep(0.1)
            process.terminate()
            process.wait(timeout=120)
        finally:
            process.kill()
    assert process.returncode == -signal.SIGTERM


def test_a_signal_after_the_last_step_lets_the_training_end(
    trainings: Any, uninterrupted: Any, tmp_path: Path
) -> None:
    fault = {"place": "before the epoch is kept", "call": 2, "kind": "SIGTERM"}
    ended = trainings.fit(tmp_path / "run", fault=fault)
    assert ended.status == 0, ended.said
    assert not uninterrupted.differences(tmp_path / "run")


def test_the_command_saves_and_ends_on_sigterm(trainings: Any, tmp_path: Path) -> None:
    """The real command, as a batch system runs it, at whatever moment the signal comes."""
    run = tmp_path / "run"
    command = [
        Path(sys.executable).with_name("motivnet-train"),
        *trainings.arguments(run, "--epochs", "5000"),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        try:
            first = process.stderr.readline()
            assert first.startswith("epoch 1/5000: "), first
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 143
    assert f"saved {run / 'last.ckpt'}" in stopped(said)
    assert saved_steps(run) >= STEPS

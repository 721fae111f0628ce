"""Two processes that train together on the CPU: the same weights as one, and no process is left when one dies."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from motivnet.checkpoints import load_model
from motivnet_training.checkpoint_io import AtomicCheckpointIO

pytestmark = pytest.mark.timeout(300)

TWO_RANKS = ["--devices", "2", "--strategy", "ddp"]
EVEN = ["--batch-size", "7"]
"""28 images in 4 batches: two for each rank."""


@contextlib.contextmanager
def two_ranks(command: list[str]) -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    """Two ranks that have trained for an epoch: the command's own process, and the one that it has started."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    started = [Path(sys.executable).with_name("motivnet-train"), *command]
    process = subprocess.Popen(started, stderr=subprocess.PIPE, text=True, env=environment)
    children: list[psutil.Process] = []
    try:
        assert process.stderr is not None
        first = process.stderr.readline()
        assert first.startswith("epoch 1/"), first
        children = psutil.Process(process.pid).children(recursive=True)
        (other,) = children
        yield process, other
    finally:
        for each in (process, *children):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        process.communicate()


@pytest.fixture(scope="module")
def with_two_ranks(trainings: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("two") / "run"
    ended = trainings.fit(run, *TWO_RANKS, *EVEN, "--accumulate", "1")
    assert (ended.status, ended.alone) == (0, True), ended.said
    return run


def test_two_ranks_come_to_the_weights_of_one_with_twice_the_accumulation(
    with_two_ranks: Path, trainings: Any, tmp_path: Path
) -> None:
    ended = trainings.fit(tmp_path / "one", *EVEN, "--accumulate", "2")
    assert ended.status == 0, ended.said
    one, two = (
        load_model(run / "last.safetensors").state_dict()
        for run in (tmp_path / "one", with_two_ranks)
    )
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=0, atol=1e-5, msg=name)
    positions = [
        AtomicCheckpointIO().load_checkpoint(run / "last.ckpt")["motivnet"]["position"]
        for run in (tmp_path / "one", with_two_ranks)
    ]
    for epoch, other in zip(*(position["history"] for position in positions), strict=True):
        assert epoch == pytest.approx(other, abs=1e-5)


def test_the_order_of_two_ranks_matters(
    with_two_ranks: Path, trainings: Any, tmp_path: Path
) -> None:
    """Else the comparison of weights would prove nothing: without accumulation one process goes elsewhere."""
    assert trainings.fit(tmp_path / "one", *EVEN, "--accumulate", "1").status == 0
    one, two = (
        load_model(run / "last.safetensors").state_dict()
        for run in (tmp_path / "one", with_two_ranks)
    )
    assert max(float((one[name] - two[name]).abs().max()) for name in one) > 1e-4


@pytest.mark.parametrize("victim", ["first", "second"])
def test_when_one_of_two_ranks_is_killed_both_end_within_thirty_seconds(
    victim: str, trainings: Any, tmp_path: Path
) -> None:
    with two_ranks(trainings.arguments(tmp_path / "run", *TWO_RANKS, "--epochs", "5000")) as (
        process,
        other,
    ):
        os.kill(process.pid if victim == "first" else other.pid, signal.SIGKILL)
        status = process.wait(timeout=30)
        _, alive = psutil.wait_procs([other], timeout=30)
        assert not alive
        assert status != 0
    AtomicCheckpointIO().load_checkpoint(tmp_path / "run" / "last.ckpt")


def test_sigterm_to_the_first_of_two_ranks_stops_both_with_143(
    trainings: Any, tmp_path: Path
) -> None:
    with two_ranks(trainings.arguments(tmp_path / "run", *TWO_RANKS, "--epochs", "5000")) as (
        process,
        other,
    ):
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
        assert not psutil.wait_procs([other], timeout=20)[1]
    assert process.returncode == 143, said
    assert "error: the training was asked to stop" in said


@pytest.mark.slow
def test_two_ranks_of_which_one_was_killed_resume_to_the_same_bits(
    with_two_ranks: Path, trainings: Any, tmp_path: Path
) -> None:
    options = [*TWO_RANKS, *EVEN, "--accumulate", "1", "--checkpoint-minutes", "0"]
    fault = {"place": "in a training batch", "call": 4, "kind": "SIGKILL"}
    ended = trainings.fit(tmp_path / "run", *options, fault=fault)
    assert (ended.status, ended.alone) == (-signal.SIGKILL, True), ended.said
    assert trainings.fit(tmp_path / "run", *options, "--resume").status == 0
    files = [(run / "last.safetensors").read_bytes() for run in (tmp_path / "run", with_two_ranks)]
    assert files[0] == files[1]

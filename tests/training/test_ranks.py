"""Two processes that train together on the CPU: the weights of one, and none is left when one dies.

All but one test fork both ranks from the training server, as a batch system would start them; that
one runs the real command, which starts its second rank.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from motivnet.checkpoints import load_model
from motivnet_training.checkpointing import read_state

pytestmark = pytest.mark.timeout(300)

TWO_RANKS = ["--devices", "2", "--strategy", "ddp"]
EVEN = ["--batch-size", "7"]
"""28 images in 4 batches: two for each rank."""


@pytest.fixture(scope="module")
def with_two_ranks(trainings: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("two") / "run"
    ended = trainings.fit(run, *TWO_RANKS, *EVEN, "--accumulate", "1", ranks=2)
    assert (ended.statuses, ended.alone) == ([0, 0], True), ended.said
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
    histories = [
        read_state(run / "last.ckpt")["progress"]["history"]
        for run in (tmp_path / "one", with_two_ranks)
    ]
    for epoch, other in zip(*histories, strict=True):
        assert epoch == pytest.approx(other, abs=1e-5)


def test_the_order_of_two_ranks_matters(
    with_two_ranks: Path, trainings: Any, tmp_path: Path
) -> None:
    """Else the comparison of weights would prove nothing: one process alone gets other weights."""
    assert trainings.fit(tmp_path / "one", *EVEN, "--accumulate", "1").status == 0
    one, two = (
        load_model(run / "last.safetensors").state_dict()
        for run in (tmp_path / "one", with_two_ranks)
    )
    assert max(float((one[name] - two[name]).abs().max()) for name in one) > 1e-4


@pytest.mark.parametrize("victim", [0, 1])
def test_when_one_of_two_ranks_is_killed_the_other_ends_and_training_resumes_to_the_same_bits(
    victim: int, with_two_ranks: Path, trainings: Any, tmp_path: Path
) -> None:
    options = [*TWO_RANKS, *EVEN, "--accumulate", "1", "--checkpoint-minutes", "0"]
    fault = {"place": "in a training batch", "call": 4, "kind": "SIGKILL", "rank": victim}
    ended = trainings.fit(tmp_path / "run", *options, fault=fault, ranks=2)
    assert (ended.statuses[victim], ended.statuses[1 - victim]) == (-signal.SIGKILL, 1), ended.said
    assert ended.alone
    if victim == 1:
        assert "the 2 training processes lost each other" in ended.said
    assert trainings.fit(tmp_path / "run", *options, "--resume", ranks=2).statuses == [0, 0]
    files = [(run / "last.safetensors").read_bytes() for run in (tmp_path / "run", with_two_ranks)]
    assert files[0] == files[1]


def test_sigterm_to_the_first_of_two_ranks_stops_both_with_143(
    trainings: Any, tmp_path: Path
) -> None:
    """The real command, which starts the second rank."""
    arguments = trainings.arguments(tmp_path / "run", *TWO_RANKS, "--epochs", "5000")
    command = [Path(sys.executable).with_name("motivnet-train"), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    children: list[psutil.Process] = []
    try:
        assert process.stderr is not None
        first = process.stderr.readline()
        assert first.startswith("epoch 1/"), first
        children = psutil.Process(process.pid).children(recursive=True)
        (other,) = children
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=120)
        assert not psutil.wait_procs([other], timeout=120)[1]
    finally:
        for each in (process, *children):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        process.communicate()
    assert process.returncode == 143, said
    assert "error: the training was asked to stop" in said

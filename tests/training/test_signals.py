"""What a process does with signals when its training cannot answer them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from motivnet.errors import TrainingStoppedError
from motivnet_training.signals import stopping

HANGING = """
import os, signal, sys, time
from motivnet_training import signals
signals.PATIENCE, signals.APART = {patience}, 0.5
with signals.listening() as request:
    request.install()
    print("ready", flush=True)
    while request.number is None:
        time.sleep(0.01)
    {then}
print("answered", flush=True)
"""


def hanging(*, patience: float = 60.0, then: str = "time.sleep(60)") -> subprocess.Popen[str]:
    code = HANGING.format(patience=patience, then=then)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_batch_that_does_not_end_is_not_waited_for(number: int, status: int) -> None:
    with hanging(patience=0.5) as process:
        process.send_signal(number)
        _, said = process.communicate(timeout=20)
    assert process.returncode == status
    assert (
        said
        == "error: no batch ended within 0 s: left without saving; go on with --resume from the state saved last\n"
    )


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_process_at_once(second: int) -> None:
    with hanging() as process:
        process.send_signal(signal.SIGTERM)
        time.sleep(1)
        process.send_signal(second)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 128 + second
    assert said.startswith("error: asked a second time to stop: left without saving")


def test_the_same_request_twice_is_one_request() -> None:
    with hanging(then="time.sleep(0.3)") as process:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=20) == ("answered\n", "")
    assert process.returncode == 0


def test_saving_may_take_longer_than_a_batch() -> None:
    with hanging(patience=0.2, then="request.answered(); time.sleep(0.6)") as process:
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=20) == ("answered\n", "")
    assert process.returncode == 0


def stop_oneself(number: int) -> None:
    with stopping("finish it with --resume"):
        os.kill(os.getpid(), number)
        time.sleep(5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_comes_after_the_last_epoch_is_stopped_with_a_word(number: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(TrainingStoppedError, match="finish it with --resume") as caught:
        stop_oneself(number)
    assert caught.value.exit_status == 128 + number
    assert signal.getsignal(number) == before

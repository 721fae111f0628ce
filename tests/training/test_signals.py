"""What a process does with signals when its training cannot answer them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from motivnet.errors import TrainingStoppedError
from motivnet_training import signals
from motivnet_training.signals import BATCH_SECONDS, StopRequest, stopping


class Left(BaseException):
    """Takes the place of the end of the process."""


class FakeTimer:
    """A timer that only the test fires."""

    def __init__(self, seconds: float, function: Callable[..., Any], arguments: Any) -> None:
        self.seconds = seconds
        self.fire = lambda: function(*arguments)
        self.is_running = False

    def start(self) -> None:
        self.is_running = True

    def cancel(self) -> None:
        self.is_running = False


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> list[FakeTimer]:
    """The timers that were made; the end of the process is raised as ``Left``."""

    def leave(number: int, reason: str) -> None:
        raise Left(number, reason)

    monkeypatch.setattr(signals, "_leave", leave)
    return []


def make_request(timers: list[FakeTimer], clock: Clock) -> StopRequest:
    def timer(*arguments: Any) -> Any:
        timers.append(FakeTimer(*arguments))
        return timers[-1]

    return StopRequest(clock=clock, timer=timer)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_batch_that_does_not_end_is_not_waited_for(number: int, timers: list[FakeTimer]) -> None:
    request = make_request(timers, Clock())
    with request.listening():
        os.kill(os.getpid(), number)
        assert request.number == number
        (timer,) = timers
        assert (timer.seconds, timer.is_running) == (BATCH_SECONDS, True)
        with pytest.raises(Left) as caught:
            timer.fire()
    assert caught.value.args == (number, "no batch ended within 9 s")


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_process_at_once(second: int, timers: list[FakeTimer]) -> None:
    clock = Clock()
    request = make_request(timers, clock)
    request.receive(signal.SIGTERM, None)
    clock.now += 1.0
    with pytest.raises(Left) as caught:
        request.receive(second, None)
    assert caught.value.args == (second, "asked a second time to stop")


def test_the_same_request_twice_is_one_request(timers: list[FakeTimer]) -> None:
    clock = Clock()
    request = make_request(timers, clock)
    request.receive(signal.SIGTERM, None)
    clock.now += 0.9
    request.receive(signal.SIGTERM, None)
    assert request.number == signal.SIGTERM
    assert len(timers) == 1


@pytest.mark.parametrize("is_answered", [True, False])
def test_saving_may_take_longer_than_a_batch(is_answered: bool, timers: list[FakeTimer]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    request = make_request(timers, Clock())
    with request.listening():
        os.kill(os.getpid(), signal.SIGTERM)
        if is_answered:
            request.answer()
            assert not timers[0].is_running
    assert not timers[0].is_running, "nor does it run after the training"
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_process_ends_with_the_signals_status_and_one_line() -> None:
    code = (
        "from motivnet_training import signals; signals._leave(15, 'asked a second time to stop')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 143
    assert done.stderr == (
        "error: asked a second time to stop: left without saving; "
        "continue with --resume from the state saved last\n"
    )


def stop_oneself(number: int) -> None:
    with stopping("finish it with --resume"):
        signal.raise_signal(number)
        pytest.fail("the block went on after the signal")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_comes_after_the_last_epoch_is_stopped_with_a_message(number: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(TrainingStoppedError, match="finish it with --resume") as caught:
        stop_oneself(number)
    assert caught.value.exit_status == 128 + number
    assert signal.getsignal(number) == before

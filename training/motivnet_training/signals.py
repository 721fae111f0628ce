"""SIGTERM and Ctrl-C ask a training to stop."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from motivnet.errors import TrainingStoppedError

_ASKED = (signal.SIGTERM, signal.SIGINT)
PATIENCE = 9.0
"""Seconds that a batch may take to end after a signal."""

APART = 1.0
"""Seconds between two signals that mean two requests: ``timeout``, for one, signals the process and then its group."""


class StopRequest:
    """Which signal asked to stop, if one did.

    A second one ends the process at once, and so does the first where the end of a batch does not
    come in time: what was saved before stays, because a file takes its place whole or not at all.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._since = 0.0
        self._limit: threading.Timer | None = None

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Takes the signal."""
        del frame
        if self.number is not None:
            if time.monotonic() - self._since >= APART:
                _leave(number, "asked a second time to stop")
            return
        self.number, self._since = number, time.monotonic()
        self._limit = threading.Timer(
            PATIENCE, _leave, (number, f"no batch ended within {PATIENCE:.0f} s")
        )
        self._limit.daemon = True
        self._limit.start()

    def answered(self) -> None:
        """The training has noticed: what it now saves may take as long as it takes."""
        if self._limit is not None:
            self._limit.cancel()

    def install(self) -> None:
        """Lets the signals reach this request; only in the main thread, where alone they can be handled."""
        if threading.current_thread() is threading.main_thread():
            for number in _ASKED:
                signal.signal(number, self.receive)


@contextlib.contextmanager
def listening() -> Iterator[StopRequest]:
    """A request to be installed inside the block; the handlers before it are back after it.

    Not installed yet, because before the first step there is nothing to save, and the wait for
    other processes of the training, which may never come, would hear of no request.
    """
    request = StopRequest()
    before = {number: signal.getsignal(number) for number in _ASKED}
    try:
        yield request
    finally:
        request.answered()
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def stopping(message: str) -> Iterator[None]:
    """Inside the block a signal ends what is done at once, with this message.

    Raises:
        TrainingStoppedError: When it comes.
    """

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        del frame
        raise TrainingStoppedError(message, signal=number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in _ASKED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, reason: str) -> None:
    """Ends the process without unwinding it, which a hanging collective would never let happen."""
    os.write(
        2,
        f"error: {reason}: left without saving; go on with --resume from the state saved last\n".encode(),
    )
    os._exit(128 + number)

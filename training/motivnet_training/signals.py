"""SIGTERM and Ctrl-C ask a training to stop."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

from motivnet.errors import TrainingStoppedError

BATCH_SECONDS = 9.0
"""How long a batch may take to end after a signal."""

REPEAT_SECONDS = 1.0
"""Signals closer together are one request: ``timeout`` signals the process and its group."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """The signal that asked to stop, if one did.

    A second signal ends the process at once, and so does the first if no batch ends in time: what
    was saved before stays, because files are replaced whole or not at all.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        timer: Callable[..., threading.Timer] = threading.Timer,
    ) -> None:
        self.number: int | None = None
        self._clock = clock
        self._make_timer = timer
        self._since = 0.0
        self._timer: threading.Timer | None = None

    def receive(self, number: int, _frame: FrameType | None) -> None:
        """Take a signal."""
        if self.number is not None:
            if self._clock() - self._since >= REPEAT_SECONDS:
                _leave(number, "asked a second time to stop")
            return
        self.number, self._since = number, self._clock()
        reason = f"no batch ended within {BATCH_SECONDS:.0f} s"
        self._timer = self._make_timer(BATCH_SECONDS, _leave, (number, reason))
        self._timer.daemon = True
        self._timer.start()

    def answer(self) -> None:
        """Note that the training has seen the request: saving may take as long as it takes."""
        if self._timer is not None:
            self._timer.cancel()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Receive signals in the block, which ends as if answered."""
        try:
            with _handlers(self.receive):
                yield
        finally:
            self.answer()


@contextlib.contextmanager
def stopping(message: str) -> Iterator[None]:
    """End the block at once on a signal, with this message.

    Raises:
        TrainingStoppedError: When a signal comes.
    """

    def stop(number: int, _frame: FrameType | None) -> NoReturn:
        raise TrainingStoppedError(message, signal=number)

    with _handlers(stop):
        yield


@contextlib.contextmanager
def _handlers(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle the signals in the block; outside the main thread that is impossible."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, reason: str) -> None:
    """End the process without unwinding it, which a hanging collective would never allow."""
    text = (
        f"error: {reason}: left without saving; continue with --resume from the state saved last\n"
    )
    os.write(2, text.encode())
    os._exit(128 + number)

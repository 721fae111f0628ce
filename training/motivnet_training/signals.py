"""SIGTERM and Ctrl-C ask a training to stop."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_ASKED = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Which signal asked to stop, if one did."""

    def __init__(self) -> None:
        self.number: int | None = None

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Takes the signal; a second Ctrl-C is for those who cannot wait."""
        del frame
        if self.number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number

    def install(self) -> None:
        """Lets the signals reach this request; only in the main thread, where alone they can be handled."""
        if threading.current_thread() is threading.main_thread():
            for number in _ASKED:
                signal.signal(number, self.receive)


@contextlib.contextmanager
def listening() -> Iterator[StopRequest]:
    """A request to be installed inside the block; the handlers before it are back after it.

    Not installed yet, because before the first step there is nothing to save, and the wait for other processes of the
    training, which may never come, would hear of no request.
    """
    request = StopRequest()
    before = {number: signal.getsignal(number) for number in _ASKED}
    try:
        yield request
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)

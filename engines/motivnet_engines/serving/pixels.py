"""How many pixels are decoded at once: a file of a few kilobytes can hold forty million of them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from motivnet_engines.serving.batcher import LateError


class PixelBudget:
    """Shared by the threads that prepare images, because only a thread knows when its pixels are freed.

    Args:
        pixels: At once; a larger image is alone.
    """

    def __init__(self, pixels: int) -> None:
        self._all = self._free = pixels
        # Held while waiting, so that small images do not overtake a large one for ever.
        self._turn = threading.Lock()
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taken(self, pixels: int, *, deadline: float) -> Iterator[None]:
        """The block runs when there is room for its pixels.

        Raises:
            LateError: If there was none before the deadline, of ``time.monotonic``.
        """
        pixels = min(pixels, self._all)
        self._take(pixels, deadline)
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify()

    def _take(self, pixels: int, deadline: float) -> None:
        if not self._turn.acquire(timeout=_until(deadline)):
            raise LateError
        try:
            with self._changed:
                if not self._changed.wait_for(lambda: self._free >= pixels, timeout=_until(deadline)):
                    raise LateError
                self._free -= pixels
        finally:
            self._turn.release()


def _until(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())

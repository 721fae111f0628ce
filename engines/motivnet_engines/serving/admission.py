"""Who is let in: a bounded number of requests that can be answered in time, and nobody once the service drains."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator

from motivnet_engines.serving.refusals import RefusedError

_SHARE_OF_DEADLINE = 0.5
"""Of the deadline may be expected to be spent: the expectation is a mean, and half of all requests take longer."""

_FRESHNESS = 0.03
"""The weight of the newest answer in the mean."""


class Admission:
    """Counts what is inside; of one event loop, so that nothing here needs a lock.

    A request is expected to take as long as those before it took from answer to answer, times their number.

    Args:
        capacity: Requests that may be inside.
        deadline: Seconds that each of them has.
        max_waiting_bytes: Of all the bodies together.
    """

    def __init__(self, *, capacity: int, deadline: float, max_waiting_bytes: int) -> None:
        self.inside = 0
        self.draining = asyncio.Event()
        self._capacity = capacity
        self._deadline = deadline
        self._max_bytes = max_waiting_bytes
        self._bytes = 0
        self._idle = asyncio.Event()
        self._readers: set[asyncio.Timeout] = set()
        self._seconds_per_answer = 0.0
        self._last_answer = 0.0
        self._answers = 0

    def check(self) -> None:
        """Returns where another request can be taken in.

        Raises:
            RefusedError: Saying when to try again.
        """
        if self.draining.is_set():
            raise RefusedError("draining", "the service is shutting down; try again elsewhere or later", retry_after=5)
        expected = self.inside * self._seconds_per_answer
        if self.inside >= self._capacity or expected > self._deadline * _SHARE_OF_DEADLINE:
            raise overloaded(expected)

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """A place inside, for as long as the block runs; a block that ends with an exception gave no answer.

        Raises:
            RefusedError: As ``check``.
        """
        self.check()
        entered = time.monotonic()
        self.inside += 1
        try:
            yield
            self._learn(entered)
        finally:
            self.inside -= 1
            if not self.inside:
                self._idle.set()

    @contextlib.contextmanager
    def held(self, size: int) -> Iterator[None]:
        """Room for the bytes of a body, for as long as the block runs.

        Raises:
            RefusedError: If the bodies that are held leave no room for it.
        """
        if self._bytes + size > self._max_bytes:
            raise overloaded(self._seconds_per_answer)
        self._bytes += size
        try:
            yield
        finally:
            self._bytes -= size

    @contextlib.asynccontextmanager
    async def reading(self, seconds: float) -> AsyncIterator[None]:
        """The time in which a body must come; it is over at once when the service begins to drain.

        Raises:
            RefusedError: If the body did not come in time.
        """
        try:
            async with asyncio.timeout(seconds) as timer:
                self._readers.add(timer)
                try:
                    yield
                finally:
                    self._readers.discard(timer)
        except TimeoutError as error:
            self.check()
            raise RefusedError("too_slow", f"the body did not arrive within {seconds:g} s") from error

    def drain(self) -> None:
        """Lets nobody in any more; those whose body has not arrived are not inside yet."""
        self.draining.set()
        for timer in self._readers:
            if not timer.expired():
                timer.reschedule(asyncio.get_running_loop().time())

    async def until_idle(self) -> None:
        """Returns when nobody is inside."""
        while self.inside:
            self._idle.clear()
            await self._idle.wait()

    def _learn(self, entered: float) -> None:
        now = time.monotonic()
        # An answer after a pause says how long its request took, one after another how fast they come.
        seconds = now - max(entered, self._last_answer)
        self._last_answer = now
        self._answers += 1
        # The answers of a batch come together, so that a mean over fewer than several batches swings with them.
        self._seconds_per_answer += max(_FRESHNESS, 1 / self._answers) * (seconds - self._seconds_per_answer)


def overloaded(expected: float) -> RefusedError:
    """There is more to do than can be done in time."""
    return RefusedError("overloaded", "more requests are waiting than can be answered in time", retry_after=expected)

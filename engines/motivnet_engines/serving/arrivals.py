"""Bodies on their way: how long each may take, and how many bytes all of them may hold."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from motivnet_engines.serving.interruption import Interruptible, interruptible
from motivnet_engines.serving.refusals import RefusedError


@dataclass(slots=True, eq=False)
class Body:
    """The bytes of one body that are held; ``reading`` while it is not all there."""

    size: int = 0
    reading: Interruptible | None = None


class Arrivals:
    """Counts bytes as they come, because what a client announces costs nothing until it sends it.

    Where there is no room for more, the largest body that has not wholly arrived gives way: a few
    large ones that stall must not keep out the many small ones that do not.

    Args:
        max_bytes: Of all the bodies together.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bodies: set[Body] = set()
        self._bytes = 0

    @contextlib.contextmanager
    def body(self) -> Iterator[Body]:
        """A body that is held for as long as the block runs."""
        body = Body()
        self._bodies.add(body)
        try:
            yield body
        finally:
            self._bodies.discard(body)
            self._bytes -= body.size

    @contextlib.asynccontextmanager
    async def reading(self, body: Body, *, seconds: float) -> AsyncIterator[None]:
        """The time in which a body must come.

        Raises:
            RefusedError: If it did not come in time, had to give way, or the service began to
            drain.
        """
        late = RefusedError("too_slow", f"the body did not arrive within {seconds:g} s")
        async with interruptible(seconds, afterwards=late) as block:
            body.reading = block
            try:
                yield
            finally:
                body.reading = None

    def add(self, body: Body, size: int) -> None:
        """Holds that many bytes more.

        Raises:
            RefusedError: If there is no room for them and no larger body that could give way.
        """
        while self._bytes + size > self._max_bytes:
            self._make_room(body)
        body.size += size
        self._bytes += size

    def stop(self, refusal: RefusedError) -> None:
        """Refuses every body that has not wholly arrived."""
        for body in self._bodies:
            if body.reading is not None:
                body.reading.interrupt(refusal)

    def _make_room(self, newcomer: Body) -> None:
        refusal = RefusedError("overloaded", "too many bytes are waiting", retry_after=1)
        largest = max(
            (body for body in self._bodies if body.reading),
            key=lambda body: body.size,
            default=newcomer,
        )
        if largest.size <= newcomer.size or largest.reading is None:
            raise refusal
        largest.reading.interrupt(refusal)
        # Its bytes go with its task, which the event loop turns to next; it is not asked to give
        # way twice.
        self._bytes -= largest.size
        largest.size = 0

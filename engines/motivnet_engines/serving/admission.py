"""Who is let in: requests whose images can be answered in time, and nobody once the service drains."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from motivnet_engines.serving.arrivals import Arrivals
from motivnet_engines.serving.interruption import Interruptible, interruptible
from motivnet_engines.serving.refusals import RefusedError

_SHARE_OF_DEADLINE = 0.5
"""Of the deadline may be expected to be spent: the expectation is a mean, and half of all requests take longer."""

_FRESHNESS = 0.03
"""The weight of the newest image in the mean."""


class Pace:
    """How many seconds an image is expected to take, from those before it."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._last = 0.0
        self._images = 0

    def finished(self, since: float) -> None:
        """An image that came at ``since`` was classified."""
        now = time.monotonic()
        # An answer after a pause says how long its image took, one after another how fast they come.
        self._learn(now - max(since, self._last))
        self._last = now

    def given_up(self, since: float, among: int) -> None:
        """Not one of ``among`` images was classified since then, if none was: a lower bound of what each takes."""
        seconds = (time.monotonic() - since) / among
        if self._last < since and seconds > self.seconds:
            self._learn(seconds)

    def _learn(self, seconds: float) -> None:
        self._images += 1
        # The answers of a batch come together, so that a mean over fewer than several batches swings with them.
        self.seconds += max(_FRESHNESS, 1 / self._images) * (seconds - self.seconds)


@dataclass(slots=True, eq=False)
class Place:
    """A request inside: ``images`` that it waits for, of ``among`` that were inside when they were counted."""

    admission: Admission
    entered: float
    block: Interruptible
    images: int = 1
    among: int = 1

    def weigh(self, images: int) -> None:
        """Says how many images the request holds, which nobody knows before its body is read.

        Raises:
            RefusedError: If so many cannot be answered in time.
        """
        self.admission.weigh(self, images)

    def finish_image(self, *, classified: bool) -> None:
        """One image less to wait for; one that could not be read says nothing of the others' pace."""
        self.images -= 1
        if classified:
            self.admission.pace.finished(self.entered)


class Admission:
    """Counts what is inside; of one event loop, so that nothing here needs a lock.

    A request is expected to take as long as the images before it and its own, at the pace of those before them. Who
    would be alone is let in whatever is expected, because only an answer can correct the expectation.

    Args:
        capacity: Requests that may be inside.
        deadline: Seconds that each of them has.
        max_waiting_bytes: Of all the bodies together.
    """

    def __init__(self, *, capacity: int, deadline: float, max_waiting_bytes: int) -> None:
        self.draining = asyncio.Event()
        self.arrivals = Arrivals(max_waiting_bytes)
        self.pace = Pace()
        self._capacity = capacity
        self._deadline = deadline
        self._places: set[Place] = set()
        self._idle = asyncio.Event()

    @property
    def inside(self) -> int:
        """Requests that wait or are in work."""
        return len(self._places)

    def check(self) -> None:
        """Returns where another request can be taken in.

        Raises:
            RefusedError: Saying when to try again.
        """
        if self.draining.is_set():
            raise draining()
        self._check_time(self._images(), 1)
        if self.inside >= self._capacity:
            raise overloaded(self._images() * self.pace.seconds)

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[Place]:
        """A place inside, for as long as the block runs.

        Raises:
            RefusedError: As ``check``, and if the request is given up.
        """
        self.check()
        async with interruptible() as block:
            place = Place(self, time.monotonic(), block, among=self._images() + 1)
            self._places.add(place)
            try:
                yield place
            finally:
                self._leave(place)

    def weigh(self, place: Place, images: int) -> None:
        """As ``Place.weigh``."""
        others = self._images() - place.images
        self._check_time(others, images)
        place.images, place.among = images, others + images

    def drain(self) -> None:
        """Lets nobody in any more; those whose body has not arrived are not inside yet."""
        self.draining.set()
        self.arrivals.stop(draining())

    def give_up(self) -> None:
        """Refuses those that are inside: there is no time left for their answers."""
        for place in self._places:
            place.block.interrupt(draining())

    async def until_idle(self) -> None:
        """Returns when nobody is inside."""
        while self._places:
            self._idle.clear()
            await self._idle.wait()

    def _images(self) -> int:
        return sum(place.images for place in self._places)

    def _check_time(self, before: int, images: int) -> None:
        expected = (before + images) * self.pace.seconds
        if before and expected > self._deadline * _SHARE_OF_DEADLINE:
            raise overloaded(expected)

    def _leave(self, place: Place) -> None:
        if place.images:
            self.pace.given_up(place.entered, place.among)
        self._places.discard(place)
        if not self._places:
            self._idle.set()


def overloaded(expected: float) -> RefusedError:
    """There is more to do than can be done in time."""
    return RefusedError("overloaded", "more requests are waiting than can be answered in time", retry_after=expected)


def draining() -> RefusedError:
    """The service ends."""
    return RefusedError("draining", "the service is shutting down; try again elsewhere or later", retry_after=5)

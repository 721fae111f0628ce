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
    """How many seconds an image of weight 1 is expected to take, from those before it."""

    def __init__(self) -> None:
        self._seconds = self._weight = 0.0
        self._last = 0.0
        self._images = 0

    @property
    def seconds(self) -> float:
        """All the time that was measured over all the weight, the newest counting most."""
        return self._seconds / self._weight if self._weight else 0.0

    def finished(self, since: float, weight: int) -> None:
        """An image that came at ``since`` was classified."""
        now = time.monotonic()
        # An answer after a pause says how long its image took, one after another how fast they
        # come.
        self._learn(now - max(since, self._last), weight)
        self._last = now

    def given_up(self, since: float, among: int) -> None:
        """Nothing of the weight ``among`` was classified since then, if nothing was: a lower bound of what it takes."""
        seconds = (time.monotonic() - since) / among
        if self._last < since and seconds > self.seconds:
            self._learn(seconds, 1)

    def _learn(self, seconds: float, weight: int) -> None:
        self._images += 1
        # The answers of a batch come together, so that a mean over fewer than several batches
        # swings with them.
        share = max(_FRESHNESS, 1 / self._images)
        self._seconds += share * (seconds - self._seconds)
        self._weight += share * (weight - self._weight)


@dataclass(slots=True, eq=False)
class Place:
    """A request inside: the ``weight`` of the images that it waits for, ``among`` that of all that came before them."""

    admission: Admission
    entered: float
    block: Interruptible
    weight: int = 1
    among: int = 1

    def weigh(self, weight: int) -> None:
        """Says what the images of the request cost, which nobody knows before its body is read.

        Raises:
            RefusedError: If so many cannot be answered in time.
        """
        self.admission.weigh(self, weight)

    def finish_image(self, weight: int = 1, *, classified: bool) -> None:
        """One image less to wait for; one that could not be read says nothing of the others' pace."""
        self.weight -= weight
        if classified:
            self.admission.pace.finished(self.entered, weight)


class Admission:
    """Counts what is inside; of one event loop, so that nothing here needs a lock.

    A request is expected to take as long as the images before it and its own, at the pace of those
    before them. Before it is of every other request what weighs no more than its own, because turns
    are fair; at least what is in work already. Who would be alone is let in whatever is expected,
    because only an answer can correct the expectation.

    Args:
        capacity: Requests that may be inside.
        deadline: Seconds that each of them has.
        max_waiting_bytes: Of all the bodies together.
        in_work: Images that nobody passes any more.
    """

    def __init__(
        self, *, capacity: int, deadline: float, max_waiting_bytes: int, in_work: int = 1
    ) -> None:
        self.draining = asyncio.Event()
        self.arrivals = Arrivals(max_waiting_bytes)
        self.pace = Pace()
        self._capacity = capacity
        self._deadline = deadline
        self._in_work = in_work
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
        self._check_time(self._before(1), 1)
        if self.inside >= self._capacity:
            raise overloaded(self._before(1) * self.pace.seconds)

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[Place]:
        """A place inside, for as long as the block runs.

        Raises:
            RefusedError: As ``check``, and if the request is given up.
        """
        self.check()
        async with interruptible() as block:
            place = Place(self, time.monotonic(), block, among=self._before(1) + 1)
            self._places.add(place)
            try:
                yield place
            finally:
                self._leave(place)

    def weigh(self, place: Place, weight: int) -> None:
        """As ``Place.weigh``."""
        before = self._before(weight, than=place)
        self._check_time(before, weight)
        place.weight, place.among = weight, before + weight

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

    def _before(self, weight: int, *, than: Place | None = None) -> int:
        """What is done before a request of this weight."""
        others = [place.weight for place in self._places if place is not than]
        return max(min(sum(others), self._in_work), sum(min(other, weight) for other in others))

    def _check_time(self, before: int, weight: int) -> None:
        expected = (before + weight) * self.pace.seconds
        if before and expected > self._deadline * _SHARE_OF_DEADLINE:
            raise overloaded(expected)

    def _leave(self, place: Place) -> None:
        if place.weight:
            self.pace.given_up(place.entered, place.among)
        self._places.discard(place)
        if not self._places:
            self._idle.set()


def overloaded(expected: float) -> RefusedError:
    """There is more to do than can be done in time."""
    return RefusedError(
        "overloaded", "more requests are waiting than can be answered in time", retry_after=expected
    )


def draining() -> RefusedError:
    """The service ends."""
    return RefusedError(
        "draining", "the service is shutting down; try again elsewhere or later", retry_after=5
    )

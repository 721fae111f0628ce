"""A bounded queue of requests: which are accepted, and whose image is next.

Eight images of forty megapixels fit into a few hundred bytes. In the order of arrival they would
delay every other client for as long as they take to decode. So images are served by fair queueing:
the request that sent them waits longest.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import anyio

_SHARE_OF_DEADLINE = 0.5
"""How much of the deadline the work in front may take: the estimate is a mean, and half of all
requests take longer."""

_DECODE_SECONDS_PER_PIXEL = 1e-8
_SHORTEST_IMAGE = 1e-3
LARGE_IMAGE = 4_000_000
"""Pixels from which an image counts towards the limit of pixels that are decoded at once."""


class OverloadedError(Exception):
    """More is waiting than can be answered in time; ``seconds`` is the expected wait."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"about {seconds:.1f} s of work are waiting")
        self.seconds = seconds


class DrainingError(Exception):
    """The service is shutting down."""


def image_cost(pixels: int, model_seconds: float) -> float:
    """Return the seconds that an image is expected to take: decoding and one face."""
    return max(model_seconds, _SHORTEST_IMAGE) + pixels * _DECODE_SECONDS_PER_PIXEL


@dataclass(slots=True, eq=False, kw_only=True)
class Entry:
    """A request in the queue.

    ``cost`` is what its unfinished images take, in seconds: one small image until ``reserve``.
    ``finish`` is where its last image stands in the fair order.
    """

    queue: RequestQueue
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    cost: float = 0.0
    finish: float = 0.0

    def reserve(self, cost: float) -> None:
        """Reserve the time of the request's images, which is known once its body has been read.

        Raises:
            OverloadedError: If they cannot be answered in time.
        """
        self.queue.check_time(cost, besides=self)
        self.cost = cost


@dataclass(slots=True, eq=False)
class Slot:
    """The right of an image to be prepared and classified.

    It holds a place among the images in work until the image is classified, and a thread and its
    pixels until the image is prepared.
    """

    queue: RequestQueue
    finish: float
    pixels: int
    granted: asyncio.Future[None]
    preparation: Future[Any] | None = None

    def runs(self, preparation: Future[Any]) -> None:
        """Hold the thread and the pixels until the preparation ends, even if its request left."""
        loop = self.granted.get_loop()
        self.preparation = preparation

        def release(_: Future[Any]) -> None:
            # The loop may close between the check and the call, when the process ends.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self.queue.release, self)

        preparation.add_done_callback(release)


class RequestQueue:
    """The requests inside; it belongs to one event loop, so nothing here needs a lock.

    A request is expected to wait for the images in front of it, each at its ``image_cost``. Of
    every other request this counts at most as much as the request itself costs, because slots are
    given fairly, but at least what is in work already. A request that is alone is always accepted.

    Args:
        capacity: Requests inside.
        deadline: Seconds that each of them has.
        images: Images in work at once.
        image_seconds: What the model takes per image, measured at startup.
        threads: Threads that prepare images.
        pixels: Pixels of all large images that are prepared at once. A larger image is prepared
            while no other large one is.
    """

    def __init__(
        self,
        *,
        capacity: int,
        deadline: float,
        images: int,
        image_seconds: float,
        threads: int,
        pixels: int,
    ) -> None:
        self.draining = asyncio.Event()
        self._capacity = capacity
        self._deadline = deadline
        self._least_cost = image_cost(0, image_seconds)
        self._in_work_seconds = images * image_seconds
        self._images = images
        self._threads = threads
        self._all_pixels = self._pixels = pixels
        self._clock = 0.0
        self._entries: set[Entry] = set()
        self._slots: list[Slot] = []
        self._idle = asyncio.Event()

    @property
    def size(self) -> int:
        """Requests that wait or are in work."""
        return len(self._entries)

    def check(self) -> None:
        """Return if another request can be accepted.

        Raises:
            DrainingError, OverloadedError: If not.
        """
        if self.draining.is_set():
            raise DrainingError
        self.check_time(self._least_cost)
        if self.size >= self._capacity:
            raise OverloadedError(self._seconds_before(self._least_cost))

    def check_time(self, cost: float, *, besides: Entry | None = None) -> None:
        """Return if a request of this cost can be answered in time.

        Raises:
            OverloadedError: If not.
        """
        before = self._seconds_before(cost, besides=besides)
        if before and before + cost > self._deadline * _SHARE_OF_DEADLINE:
            raise OverloadedError(before + cost)

    @contextlib.asynccontextmanager
    async def enter(self) -> AsyncIterator[Entry]:
        """Be in the queue for as long as the block runs.

        Raises:
            DrainingError, OverloadedError: As ``check``, and if the service ends before the block.
        """
        self.check()
        entry = Entry(queue=self, cost=self._least_cost)
        self._entries.add(entry)
        try:
            with entry.scope:
                yield entry
        finally:
            self._entries.discard(entry)
            if not self._entries:
                self._idle.set()
        if entry.scope.cancelled_caught:
            raise DrainingError

    @contextlib.asynccontextmanager
    async def slot(self, entry: Entry, *, pixels: int, cost: float) -> AsyncIterator[Slot]:
        """Run the block when an image of this request is given a slot.

        The order is that of self-clocked fair queueing: an image stands behind the last one of its
        own request, and behind the images of others that would be done before it if all requests
        advanced alike. No image waits for ever, because later ones stand behind those served now.
        """
        entry.finish = max(entry.finish, self._clock) + cost
        counted = min(pixels, self._all_pixels) if pixels >= LARGE_IMAGE else 0
        slot = Slot(self, entry.finish, counted, asyncio.get_running_loop().create_future())
        bisect.insort_right(self._slots, slot, key=lambda other: other.finish)
        self._grant()
        try:
            await slot.granted
            yield slot
        finally:
            self._leave(slot)

    def release(self, slot: Slot) -> None:
        """Take back the thread and the pixels of a slot."""
        self._threads += 1
        self._pixels += slot.pixels
        self._grant()

    async def drain(self, *, grace: float, hurry: asyncio.Event) -> int:
        """Refuse new requests, wait for those inside, and return how many were left unanswered.

        Args:
            grace: Seconds to wait; whoever is still inside then gets an error response.
            hurry: Ends the wait at once.
        """
        self.draining.set()
        waits = [asyncio.ensure_future(wait) for wait in (self._until_idle(), hurry.wait())]
        await asyncio.wait(waits, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        unanswered = self.size
        for entry in self._entries:
            entry.scope.cancel()
        return unanswered

    async def _until_idle(self) -> None:
        while self._entries:
            self._idle.clear()
            await self._idle.wait()

    def _seconds_before(self, cost: float, *, besides: Entry | None = None) -> float:
        others = [entry.cost for entry in self._entries if entry is not besides]
        in_work = min(sum(others), self._in_work_seconds)
        return max(in_work, sum(min(other, cost) for other in others))

    def _leave(self, slot: Slot) -> None:
        if slot in self._slots:
            self._slots.remove(slot)
            return
        self._images += 1
        if slot.preparation is None:
            self.release(slot)
        self._grant()

    def _grant(self) -> None:
        while self._images and self._threads and (slot := self._next()) is not None:
            self._slots.remove(slot)
            self._clock = max(self._clock, slot.finish)
            self._images -= 1
            self._threads -= 1
            self._pixels -= slot.pixels
            slot.granted.set_result(None)

    def _next(self) -> Slot | None:
        """Return the first slot, or, if its pixels have no room, the first small image's."""
        # A slot whose request was cancelled is removed when its task runs next.
        waiting = [slot for slot in self._slots if not slot.granted.done()]
        if not waiting or waiting[0].pixels <= self._pixels:
            return waiting[0] if waiting else None
        return next((slot for slot in waiting if not slot.pixels), None)

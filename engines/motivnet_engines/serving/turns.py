"""Whose image is next: fair among requests by what their images cost, within room for work, threads
and pixels.

Eight images of forty megapixels fit into a few hundred bytes. In the order of arrival they would
keep everybody else waiting for their whole decoding; here the request that sent them waits longest
for its own.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

_PIXELS_OF_ONE = 4_000_000
"""What a larger image costs beyond its face is decoding, which is proportional to its pixels."""


def weight_of(pixels: int) -> int:
    """What an image costs, where 1 is an ordinary one: twelve megapixels weigh 4 and forty weigh 11."""
    return 1 + pixels // _PIXELS_OF_ONE


@dataclass(slots=True, eq=False)
class Share:
    """One request's part of the turns: where its last image stands in the order."""

    finish: int = 0


@dataclass(slots=True, eq=False)
class Turn:
    """An image's turn: a place in work until it is classified, a thread and its pixels until it is prepared."""

    turns: Turns
    finish: int
    pixels: int
    granted: asyncio.Future[None]
    preparation: Future[Any] | None = None

    def runs(self, preparation: Future[Any]) -> None:
        """Keeps the thread and the pixels until the preparation ends, even if nobody waits for it any more."""
        loop = self.granted.get_loop()
        self.preparation = preparation
        preparation.add_done_callback(
            lambda _: (
                None if loop.is_closed() else loop.call_soon_threadsafe(self.turns.prepared, self)
            )
        )


class Turns:
    """Gives turns in the order of self-clocked fair queueing; of one event loop, so that nothing
    here needs a lock.

    An image stands behind the last one of its own request, and behind the images of others that are
    done before it if all requests advance alike. Nobody waits for ever, because who comes later
    stands behind who is served now. An image of weight 1 needs no room for pixels, which the number
    of threads bounds, and so passes a larger one that waits for it.

    Args:
        images: That are in work at once.
        threads: That prepare them.
        pixels: Of all images above weight 1 that are prepared at once; a larger one is alone among
        them.
    """

    def __init__(self, *, images: int, threads: int, pixels: int) -> None:
        self._images = images
        self._threads = threads
        self._all_pixels = self._pixels = pixels
        self._clock = 0
        self._queue: list[Turn] = []

    @contextlib.asynccontextmanager
    async def turn(self, share: Share, *, pixels: int) -> AsyncIterator[Turn]:
        """The block runs when it is the turn of an image of this request."""
        weight = weight_of(pixels)
        share.finish = max(share.finish, self._clock) + weight
        counted = 0 if weight == 1 else min(pixels, self._all_pixels)
        turn = Turn(self, share.finish, counted, asyncio.get_running_loop().create_future())
        bisect.insort_right(self._queue, turn, key=lambda other: other.finish)
        self._grant()
        try:
            await turn.granted
            yield turn
        finally:
            self._leave(turn)

    def prepared(self, turn: Turn) -> None:
        """Takes back the thread and the pixels of a turn."""
        self._threads += 1
        self._pixels += turn.pixels
        self._grant()

    def _leave(self, turn: Turn) -> None:
        if turn in self._queue:
            self._queue.remove(turn)
            return
        self._images += 1
        if turn.preparation is None:
            self.prepared(turn)
        self._grant()

    def _grant(self) -> None:
        while self._images and self._threads and (turn := self._next()) is not None:
            self._queue.remove(turn)
            self._clock = max(self._clock, turn.finish)
            self._images -= 1
            self._threads -= 1
            self._pixels -= turn.pixels
            turn.granted.set_result(None)

    def _next(self) -> Turn | None:
        """The first one, or where there is no room for its pixels the first one that needs none."""
        waiting = [
            turn for turn in self._queue if not turn.granted.done()
        ]  # a cancelled one leaves in its own time
        if not waiting or waiting[0].pixels <= self._pixels:
            return waiting[0] if waiting else None
        return next((turn for turn in waiting if not turn.pixels), None)

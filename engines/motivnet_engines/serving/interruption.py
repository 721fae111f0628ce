"""Work of the event loop that others may end early, with the refusal that its client is then told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from motivnet_engines.serving.refusals import RefusedError


@dataclass(slots=True, eq=False)
class Interruptible:
    """A handle on a block that runs."""

    timer: asyncio.Timeout
    refusal: RefusedError | None = None

    def interrupt(self, refusal: RefusedError) -> None:
        """Ends the block with this refusal, unless it is ending already."""
        if self.refusal is None and not self.timer.expired():
            self.refusal = refusal
            self.timer.reschedule(asyncio.get_running_loop().time())


@contextlib.asynccontextmanager
async def interruptible(
    seconds: float | None = None, *, afterwards: RefusedError | None = None
) -> AsyncIterator[Interruptible]:
    """A block that ``interrupt`` ends, and which ends by itself after ``seconds``, with the refusal
    ``afterwards``.

    Raises:
        RefusedError: If it was ended.
    """
    timer = asyncio.timeout(seconds)
    block = Interruptible(timer)
    try:
        async with timer:
            yield block
    except TimeoutError as error:
        refusal = block.refusal or afterwards
        if refusal is None or not timer.expired():
            raise
        raise refusal from error

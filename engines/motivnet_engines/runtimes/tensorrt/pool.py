"""The lanes of a runtime: made when they are needed, lent to one caller at a time, first come first served."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator

from motivnet.errors import RuntimeUnavailableError
from motivnet_engines.runtimes.tensorrt.cuda.base import CudaMemory
from motivnet_engines.runtimes.tensorrt.lane import Lane


class LanePool:
    """At most ``limit`` lanes, used from any thread.

    Args:
        name: The runtime's, for its error.
        memory: Whose context is current while a lane is made, used or closed.
        new_lane: Makes one; calls to it do not overlap.
        limit: The most lanes at a time.
    """

    def __init__(
        self, name: str, memory: CudaMemory, new_lane: Callable[[], Lane], *, limit: int
    ) -> None:
        self._name = name
        self._memory = memory
        self._new_lane = new_lane
        self._limit = limit
        self._free = limit
        self._idle: list[Lane] = []
        self._queue: deque[object] = deque()
        self._closed = False
        self._changed = threading.Condition()
        self._making = threading.Lock()

    @contextlib.contextmanager
    def lane(self) -> Iterator[Lane]:
        """A lane for this caller alone, its CUDA context current; one whose block fails is closed
        and not used again.

        Raises:
            RuntimeUnavailableError: After ``close``.
            EngineError: If another lane cannot be made.
        """
        lane = self._take()
        try:
            with self._memory.current():
                lane = lane or self._made()
                try:
                    yield lane
                except BaseException:
                    broken, lane = lane, None
                    broken.close()
                    raise
        finally:
            self._give_back(lane)

    def close(self) -> None:
        """Refuses new callers, waits for those that came before, and closes every lane; a second call does nothing."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._queue and self._free == self._limit)
            lanes, self._idle = self._idle, []
        if lanes:
            with self._memory.current():
                for lane in lanes:
                    lane.close()

    def _take(self) -> Lane | None:
        """The right to a lane, and one that is idle, if any, in the order of the callers."""
        ticket = object()
        with self._changed:
            if self._closed:
                raise RuntimeUnavailableError(
                    f"the {self._name} runtime is closed; open the artifact again"
                )
            self._queue.append(ticket)
            try:
                self._changed.wait_for(lambda: self._free > 0 and self._queue[0] is ticket)
                self._free -= 1
                return self._idle.pop() if self._idle else None
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def _give_back(self, lane: Lane | None) -> None:
        with self._changed:
            if lane is not None:
                self._idle.append(lane)
            self._free += 1
            self._changed.notify_all()

    def _made(self) -> Lane:
        with self._making:
            return self._new_lane()

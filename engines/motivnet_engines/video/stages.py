"""Threads that hand work on through bounded queues, and end together."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

_POLL_SECONDS = 0.05
_JOIN_SECONDS = 2.0

_Item = TypeVar("_Item")


class StoppedError(Exception):
    """The stages were stopped while a thread waited; it never reaches a user."""


class Stages:
    """The threads of one run. The first exception in any of them is raised by ``check``; ``stop`` ends the others."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    @property
    def stopped(self) -> bool:
        """Whether the threads have been told to end."""
        return self._stop.is_set()

    def start(self, work: Callable[[], None], *, name: str) -> None:
        """Runs ``work`` in a thread. It does not keep the process alive: a driver may never return from a read."""
        thread = threading.Thread(
            target=self._run, args=(work,), name=f"motivnet-{name}", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def wait(self, seconds: float) -> None:
        """Sleeps.

        Raises:
            StoppedError: If the stages are stopped meanwhile.
        """
        if self._stop.wait(max(seconds, 0.0)):
            raise StoppedError

    def check(self) -> None:
        """Raises what ended a thread.

        Raises:
            BaseException: That.
            StoppedError: If the stages were stopped for no failure.
        """
        if self._failure is not None:
            raise self._failure
        if self.stopped:
            raise StoppedError

    def stop(self) -> None:
        """Ends all threads and waits for them, but not long for one that a driver holds."""
        self._stop.set()
        deadline = time.monotonic() + _JOIN_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except StoppedError:
            return
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            with self._lock:
                self._failure = self._failure or error


class Channel(Generic[_Item]):
    """A bounded queue between two stages."""

    def __init__(self, stages: Stages, *, size: int) -> None:
        self._stages = stages
        self._queue: queue.Queue[_Item] = queue.Queue(size)

    def put(self, item: _Item) -> None:
        """Hands an item on, as soon as there is room.

        Raises:
            StoppedError: If the stages are stopped meanwhile.
        """
        while not self._stages.stopped:
            try:
                return self._queue.put(item, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
        raise StoppedError

    @property
    def has_room(self) -> bool:
        """Whether ``offer`` would take an item; certain in the only thread that hands items on."""
        return not self._queue.full()

    def offer(self, item: _Item) -> bool:
        """Hands an item on if there is room now."""
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            return False
        return True

    def get(self, *, on_wait: Callable[[], object] | None = None) -> _Item:
        """The next item; ``on_wait`` is called again and again while there is none.

        Raises:
            BaseException: What ended a thread.
            StoppedError: If the stages are stopped meanwhile.
        """
        while True:
            self._stages.check()
            try:
                return self._queue.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                if on_wait is not None:
                    on_wait()

    def get_now(self) -> _Item | None:
        """The next item if there is one."""
        try:
            return self._queue.get_nowait()
        except queue.Empty:
            return None

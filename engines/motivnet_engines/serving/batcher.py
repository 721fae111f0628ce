"""Dynamic batching: items of many requests go to one thread in common calls, and each gets its own answer back."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic

from motivnet_engines.serving.pending import Answer, Answered, Item, PendingItems, Taken, Waiting

logger = logging.getLogger(__name__)


class LateError(Exception):
    """The answer would come after the deadline, so the item was not run."""


class ClosedError(Exception):
    """The batcher takes nothing any more."""


class Batcher(Generic[Item, Answer]):
    """Runs items in batches on a thread of its own; ``submit`` may be called from any thread.

    The answers of a batch belong to its items in order. A call that fails is repeated item by item,
    so that an item that cannot be run fails alone. An item whose future is cancelled before its
    batch is taken is not run.

    Args:
        run: Gives one answer per item, in order; only ever called by the one thread.
        max_size: Items of one call.
        max_delay: Seconds that the first item of a batch waits for others.
        on_batch: Called with the number of items and the seconds of each call that succeeded.

    Example:
        >>> batcher = Batcher(lambda items: [item * 2 for item in items], max_size=8, max_delay=0.002)
        >>> batcher.submit(21, deadline=time.monotonic() + 1).result().answer
        42
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Answer]],
        *,
        max_size: int,
        max_delay: float,
        on_batch: Callable[[int, float], None] | None = None,
    ) -> None:
        self._run = run
        self._on_batch = on_batch
        self._pending: PendingItems[Item, Answer] = PendingItems(
            max_size=max_size, max_delay=max_delay
        )
        self._changed = threading.Condition()
        self._closed = False
        # Not waited for when the interpreter ends: a call of a large model may take longer than the
        # grace period.
        self._thread = threading.Thread(target=self._work, name="classify", daemon=True)
        self._thread.start()

    def submit(self, item: Item, *, deadline: float) -> Future[Answered[Answer]]:
        """The future answer of an item.

        It raises ``LateError`` where the answer would come after ``deadline`` (of
        ``time.monotonic``), and else what the call with this item alone raises.

        Raises:
            ClosedError: After ``close``.
        """
        waiting: Waiting[Item, Answer] = Waiting(
            item=item, since=time.monotonic(), deadline=deadline
        )
        with self._changed:
            if self._closed:
                raise ClosedError("the batcher is closed")
            self._pending.add(waiting)
            self._changed.notify()
        return waiting.future

    @property
    def depth(self) -> int:
        """How many items wait."""
        return len(self._pending)

    def close(self, *, timeout: float | None = None) -> bool:
        """Refuses new items and waits for those it has; False if they were not done within ``timeout`` seconds."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (taken := self._next()) is not None:
            for waiting in taken.late:
                waiting.future.set_exception(LateError("the answer would come after the deadline"))
            self._answer(taken.batch)

    def _next(self) -> Taken[Item, Answer] | None:
        """The next batch as soon as it is due; None once there is nothing left to do."""
        with self._changed:
            while (wait := self._pending.seconds_until_due(time.monotonic())) != 0:
                if self._closed and wait is None:
                    return None
                self._changed.wait(timeout=wait)
            return self._pending.take(time.monotonic())

    def _answer(self, batch: list[Waiting[Item, Answer]]) -> None:
        if not batch:
            return
        start = time.monotonic()
        try:
            answers = self._run([waiting.item for waiting in batch])
            if len(answers) != len(batch):
                raise RuntimeError(f"{len(batch)} items gave {len(answers)} answers")
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to the item that caused it
            self._isolate(batch, error)
            return
        seconds = time.monotonic() - start
        self._measured(len(batch), seconds)
        for waiting, answer in zip(batch, answers, strict=True):
            waited = (start - waiting.since) * 1e3
            waiting.future.set_result(
                Answered(answer=answer, waited_ms=waited, run_ms=seconds * 1e3)
            )

    def _isolate(self, batch: list[Waiting[Item, Answer]], error: Exception) -> None:
        if len(batch) == 1:
            batch[0].future.set_exception(error)
            return
        logger.warning("a batch of %d failed and is run item by item", len(batch))
        for waiting in batch:
            if waiting.deadline < time.monotonic():
                waiting.future.set_exception(LateError("the answer would come after the deadline"))
            else:
                self._answer([waiting])

    def _measured(self, size: int, seconds: float) -> None:
        self._pending.learn(seconds)
        if self._on_batch is not None:
            self._on_batch(size, seconds)

"""What waits to be run as a batch: who goes next, when, and who no longer needs to."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_TRUST_AFTER_REFUSAL = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered(Generic[Answer]):
    """An answer, how long its item waited, and how long the call that gave it took."""

    answer: Answer
    waited_ms: float
    run_ms: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Waiting(Generic[Item, Answer]):
    """An item that waits, from ``since``, for its answer, until ``deadline``; both on one monotonic clock."""

    item: Item
    since: float
    deadline: float
    future: Future[Answered[Answer]] = field(default_factory=Future)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken(Generic[Item, Answer]):
    """Those to run now, in order of arrival, and those who would get their answer too late."""

    batch: list[Waiting[Item, Answer]]
    late: list[Waiting[Item, Answer]]


class PendingItems(Generic[Item, Answer]):
    """First come, first served; without threads and without a clock of its own, so that it can be
    tested by itself.

    Args:
        max_size: Items of one batch.
        max_delay: Seconds that the first item waits for others.
    """

    def __init__(self, *, max_size: int, max_delay: float) -> None:
        self._waiting: deque[Waiting[Item, Answer]] = deque()
        self._max_size = max_size
        self._max_delay = max_delay
        self.run_seconds = 0.0
        """How long a call is expected to take."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, waiting: Waiting[Item, Answer]) -> None:
        """Puts one at the end."""
        self._waiting.append(waiting)

    def seconds_until_due(self, now: float) -> float | None:
        """0 where a batch should be run now, None where nothing waits."""
        if not self._waiting:
            return None
        if len(self._waiting) >= self._max_size:
            return 0.0
        return max(0.0, self._waiting[0].since + self._max_delay - now)

    def take(self, now: float) -> Taken[Item, Answer]:
        """Removes and gives the next batch and, with it, those who are too late; drops those who
        were cancelled.

        Whoever is taken can no longer be cancelled.
        """
        taken: Taken[Item, Answer] = Taken(batch=[], late=[])
        while self._waiting and len(taken.batch) < self._max_size:
            waiting = self._waiting.popleft()
            if not waiting.future.set_running_or_notify_cancel():
                continue
            if waiting.deadline < now + self.run_seconds:
                taken.late.append(waiting)
            else:
                taken.batch.append(waiting)
        if taken.late:
            # Who is refused brings no new measurement: one slow call must not go on refusing
            # everybody.
            self.run_seconds *= _TRUST_AFTER_REFUSAL
        return taken

    def learn(self, run_seconds: float) -> None:
        """Lets the expectation follow the calls' own time."""
        self.run_seconds += 0.25 * (run_seconds - self.run_seconds)

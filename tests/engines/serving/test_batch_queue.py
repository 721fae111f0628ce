from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from motivnet_engines.serving.batching import BatchQueue, LateError, Waiting

SIZE = 3
DELAY = 2.0


class Queue(RuleBasedStateMachine):
    """The queue against the plainest model of it: a list in order of arrival, and our own clock."""

    arrived = Bundle("arrived")

    def __init__(self) -> None:
        super().__init__()
        self.queue: BatchQueue[int, Any] = BatchQueue(max_size=SIZE, max_delay=DELAY)
        self.model: list[Waiting[int, Any]] = []
        self.now = 0.0
        self.count = 0

    @rule(target=arrived, patience=st.floats(min_value=0.0, max_value=10.0))
    def add(self, patience: float) -> Waiting[int, Any]:
        waiting: Waiting[int, Any] = Waiting(
            item=self.count, since=self.now, deadline=self.now + patience
        )
        self.count += 1
        self.queue.add(waiting)
        self.model.append(waiting)
        return waiting

    @rule(waiting=arrived)
    def cancel(self, waiting: Waiting[int, Any]) -> None:
        cancellable = waiting in self.model or waiting.future.cancelled()
        assert waiting.future.cancel() == cancellable

    @rule(seconds=st.floats(min_value=0.0, max_value=3.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def take(self) -> None:
        batch, late, seen = [], [], 0
        for waiting in self.model:
            if len(batch) == SIZE:
                break
            seen += 1
            if not waiting.future.cancelled():
                (late if waiting.deadline < self.now else batch).append(waiting)
        assert self.queue.take(self.now) == batch
        del self.model[:seen]
        assert all(waiting.future.running() for waiting in batch)
        assert all(isinstance(waiting.future.exception(), LateError) for waiting in late)

    @invariant()
    def is_due_when_full_or_when_the_first_has_waited(self) -> None:
        due = self.queue.seconds_until_due(self.now)
        assert len(self.queue) == len(self.model)
        if not self.model:
            assert due is None
        elif len(self.model) >= SIZE:
            assert due == 0
        else:
            assert due == max(0.0, self.model[0].since + DELAY - self.now)


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)

"""Dynamic batching: images of many requests share calls of the runtime without changing answers.

Kernels are chosen by the batch size, and another kernel adds in another order. OpenVINO gives each
row of a batch the bits that it has in a batch of one; ONNX Runtime on the CPU does not. So images
are batched only up to the largest size that is bit-identical, measured at startup.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact import Artifact
from motivnet.artifact.reference import read_reference
from motivnet.prediction import Prediction
from motivnet_engines.inference.cascade import Cascade
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.runtimes.registry import ON_GPU
from motivnet_engines.runtimes.signature import input_from_pixels, profile_of

logger = logging.getLogger(__name__)

_STARTUP_SECONDS = 10.0
"""Larger batches than those measured within this time are not used."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """How to batch for a classifier.

    Args:
        max_size: The largest batch.
        bit_exact: Whether every answer has the bits that it would have in a batch of one.
        image_seconds: What the runtime takes per image in the largest batch; 0 if not measured.
    """

    max_size: int = 1
    bit_exact: bool = True
    image_seconds: float = field(default=0.0, compare=False)


def batching_for(
    classifier: EmotionClassifier, artifact: Artifact, *, max_batch: int | None = None
) -> Batching:
    """Return how to batch: up to the size asked for on a GPU, elsewhere as far as bit-exact.

    Runs the artifact's reference inputs, in batches of every size until one differs from batches of
    one. Warns if batches are smaller than asked for, or than the artifact could.

    Raises:
        ArtifactError: If the reference cannot be trusted, or the model's logits are not finite.
    """
    asked = max_batch or classifier.batch_size
    wanted = min(asked, classifier.batch_size)
    if wanted < asked:
        logger.warning(
            "batches of %d are asked for, but the artifact takes at most %d", asked, wanted
        )
    manifest, runtime = classifier.manifest, classifier.runtime.name
    if manifest.reference is None:
        logger.warning("the artifact has no reference inputs to verify batches with: batch size 1")
        pixels = np.zeros((1, *manifest.input.preprocessing.size, 3), np.uint8)
        wanted = 1
    else:
        pixels = read_reference(artifact).pixels
    inputs = list(input_from_pixels(manifest.input, pixels, profile=profile_of(manifest, runtime)))
    exact = exact_size(classifier, inputs, largest=wanted)
    # On a GPU a batch is worth more than the last bit of an answer.
    if exact < wanted and runtime not in ON_GPU:
        logger.warning(
            "%s is bit-identical only up to a batch of %d here; larger batches are not used",
            runtime,
            exact,
        )
        wanted = exact
    seconds = image_seconds(classifier, inputs, size=wanted)
    return Batching(max_size=wanted, bit_exact=exact == wanted, image_seconds=seconds)


def batching_for_cascade(
    cascade: Cascade, student: Artifact, full: Artifact, *, max_batch: int | None = None
) -> Batching:
    """Return how to batch for a cascade, and let its full model take as many as is bit-exact.

    A batch is one of the student's; those of it that the full model is asked about go to that in as
    few calls as its own exact size allows. A face takes the student's time, and the full model's
    in the share of faces that it was asked about in the calibration.
    """
    own = batching_for(cascade.student, student, max_batch=max_batch)
    largest = min(own.max_size, cascade.full.batch_size)
    asked = batching_for(cascade.full, full, max_batch=largest)
    cascade.full.batch_size = asked.max_size
    share = 1.0 if cascade.escalation is None else 1 - cascade.escalation.student_share
    return Batching(
        max_size=own.max_size,
        bit_exact=own.bit_exact and asked.bit_exact,
        image_seconds=own.image_seconds + share * asked.image_seconds,
    )


def exact_size(
    classifier: EmotionClassifier,
    inputs: Sequence[NDArray[Any]],
    *,
    largest: int,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Return the size up to which every batch gives each input the bits of a batch of one.

    Args:
        inputs: As ``prepare`` makes them; repeated if a batch is larger.
        largest: Where to stop; earlier when the time for it is over.
    """
    end = clock() + _STARTUP_SECONDS
    alone = [classifier.classify([array])[0] for array in inputs]
    for size in range(2, largest + 1):
        # Each size starts at another input, so that inputs change their places and neighbours.
        chosen = [(size + place) % len(inputs) for place in range(size)]
        batch = classifier.classify([inputs[index] for index in chosen])
        if not all(_same(alone[index], found) for index, found in zip(chosen, batch, strict=True)):
            return size - 1
        if clock() > end:
            return size
    return largest


def image_seconds(
    classifier: EmotionClassifier,
    inputs: Sequence[NDArray[Any]],
    *,
    size: int,
    clock: Callable[[], float] = time.monotonic,
) -> float:
    """Return the time of a batch of this size, divided by its images; the best of three calls."""
    batch = [inputs[place % len(inputs)] for place in range(size)]
    best = float("inf")
    for _ in range(3):
        start = clock()
        classifier.classify(batch)
        best = min(best, clock() - start)
        if best > _STARTUP_SECONDS / 10:  # a large model is not run again for a better estimate
            break
    return best / size


def _same(one: Prediction, other: Prediction) -> bool:
    """Compare every field to the last bit; ``==`` leaves the embedding out, which may be None."""
    return one == other and np.array_equal(np.asarray(one.embedding), np.asarray(other.embedding))


class LateError(Exception):
    """The answer would come after the deadline, so the item was not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered(Generic[Answer]):
    """An answer, how long its item waited, and how long the call took."""

    answer: Answer
    waited_ms: float
    run_ms: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Waiting(Generic[Item, Answer]):
    """An item that has waited since ``since`` and is of use until ``deadline``, on one clock."""

    item: Item
    since: float
    deadline: float
    future: Future[Answered[Answer]] = field(default_factory=Future)


class BatchQueue(Generic[Item, Answer]):
    """The items that wait for a batch, first come, first served; without threads or a clock.

    Args:
        max_size: Items per batch.
        max_delay: Seconds that the first item waits for others.
    """

    def __init__(self, *, max_size: int, max_delay: float) -> None:
        self._waiting: deque[Waiting[Item, Answer]] = deque()
        self._max_size = max_size
        self._max_delay = max_delay

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, waiting: Waiting[Item, Answer]) -> None:
        """Append an item."""
        self._waiting.append(waiting)

    def seconds_until_due(self, now: float) -> float | None:
        """Return 0 if a batch should be run now, and None if nothing waits."""
        if not self._waiting:
            return None
        if len(self._waiting) >= self._max_size:
            return 0.0
        return max(0.0, self._waiting[0].since + self._max_delay - now)

    def take(self, now: float) -> list[Waiting[Item, Answer]]:
        """Remove the next batch and return it.

        Cancelled items are dropped, late ones get a ``LateError``. Taken items can no longer be
        cancelled.
        """
        batch: list[Waiting[Item, Answer]] = []
        while self._waiting and len(batch) < self._max_size:
            waiting = self._waiting.popleft()
            if not waiting.future.set_running_or_notify_cancel():
                continue
            if waiting.deadline < now:
                waiting.future.set_exception(LateError())
            else:
                batch.append(waiting)
        return batch


class Batcher(Generic[Item, Answer]):
    """Runs items in batches on its own thread; ``submit`` may be called from any thread.

    The answers of a batch belong to its items in order. A call that fails is repeated item by item,
    so that one bad item fails alone. An item whose future is cancelled in time is not run.

    Args:
        run: Gives one answer per item, in order; only called by the one thread.
        max_size: Items per call.
        max_delay: Seconds that the first item of a batch waits for others.
        on_batch: Called with the number of items and the seconds of each call that succeeded.
        clock: Seconds; deadlines are on the same clock.

    Example:
        >>> batcher = Batcher(lambda items: [2 * item for item in items], max_size=8, max_delay=0.0)
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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run = run
        self._on_batch = on_batch
        self._clock = clock
        self._queue: BatchQueue[Item, Answer] = BatchQueue(max_size=max_size, max_delay=max_delay)
        self._changed = threading.Condition()
        self._closed = False
        # A daemon: a call of a large model may take longer than the grace period.
        self._thread = threading.Thread(target=self._work, name="classify", daemon=True)
        self._thread.start()

    def submit(self, item: Item, *, deadline: float) -> Future[Answered[Answer]]:
        """Return the future answer of an item.

        It raises ``LateError`` if the deadline passes before the item is run, and otherwise what
        the call with this item alone raises.

        Raises:
            RuntimeError: After ``close``.
        """
        waiting: Waiting[Item, Answer] = Waiting(item=item, since=self._clock(), deadline=deadline)
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            self._queue.add(waiting)
            self._changed.notify()
        return waiting.future

    @property
    def depth(self) -> int:
        """How many items wait."""
        return len(self._queue)

    def close(self, *, timeout: float | None = None) -> bool:
        """Refuse new items and wait for the others; return False after ``timeout`` seconds."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            if batch:
                self._answer(batch)

    def _next(self) -> list[Waiting[Item, Answer]] | None:
        """Return the next batch as soon as it is due, and None once closed and empty."""
        with self._changed:
            while (wait := self._queue.seconds_until_due(self._clock())) != 0:
                if self._closed and wait is None:
                    return None
                self._changed.wait(timeout=wait)
            return self._queue.take(self._clock())

    def _answer(self, batch: list[Waiting[Item, Answer]]) -> None:
        start = self._clock()
        try:
            answers = self._run([waiting.item for waiting in batch])
            if len(answers) != len(batch):
                raise RuntimeError(f"{len(batch)} items gave {len(answers)} answers")
        except Exception as error:  # noqa: BLE001 - any error belongs to the item that caused it
            self._isolate(batch, error)
            return
        seconds = self._clock() - start
        if self._on_batch is not None:
            self._on_batch(len(batch), seconds)
        for waiting, answer in zip(batch, answers, strict=True):
            waited_ms = (start - waiting.since) * 1e3
            waiting.future.set_result(
                Answered(answer=answer, waited_ms=waited_ms, run_ms=seconds * 1e3)
            )

    def _isolate(self, batch: list[Waiting[Item, Answer]], error: Exception) -> None:
        """Run the items of a failed batch one by one."""
        if len(batch) == 1:
            batch[0].future.set_exception(error)
            return
        logger.warning("a batch of %d failed and is run item by item", len(batch))
        for waiting in batch:
            if waiting.deadline < self._clock():
                waiting.future.set_exception(LateError())
            else:
                self._answer([waiting])

"""Frames decoded, prepared and classified in three threads, connected by bounded queues."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from motivnet.errors import VideoError
from motivnet_engines.inference.cascade import Classifier
from motivnet_engines.inference.preprocessing import PreparedImage
from motivnet_engines.inference.results import ImageResult
from motivnet_engines.video.decoding import DecodedFrame, Frame, VideoReader

STALL_SECONDS = 30.0
"""How long reading one frame may take; streams have shorter time-outs."""

_POLL_SECONDS = 0.1
_JOIN_SECONDS = 2.0

_Item = TypeVar("_Item")


class StoppedError(Exception):
    """The threads were told to stop while one of them waited; never reaches a user."""


class Workers:
    """The threads of one run; the first exception in any of them stops the others.

    ``changed`` guards ``stopped``, ``failure`` and every queue, and is notified of every change.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.stopped = False
        self.failure: BaseException | None = None
        self._threads: list[threading.Thread] = []

    def start(self, work: Callable[[], None], *, name: str) -> None:
        """Run ``work`` in a daemon thread, because a driver may never return from a read."""
        thread = threading.Thread(
            target=self._run, args=(work,), name=f"motivnet-{name}", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def wait_for(self, ready: Callable[[], bool], *, timeout: float | None = None) -> bool:
        """Wait with ``changed`` held, and return whether it is ready.

        Raises:
            BaseException: What ended a thread.
            StoppedError: If the threads were stopped.
        """
        self.changed.wait_for(lambda: self.stopped or ready(), timeout)
        if self.failure is not None:
            raise self.failure
        if self.stopped:
            raise StoppedError
        return ready()

    def stop(self) -> None:
        """End all threads and wait for them, but not long for one that a driver holds."""
        with self.changed:
            self.stopped = True
            self.changed.notify_all()
        deadline = time.monotonic() + _JOIN_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except StoppedError:
            return
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            with self.changed:
                self.failure = self.failure or error
                self.stopped = True
                self.changed.notify_all()


class BoundedQueue(Generic[_Item]):
    """A bounded queue between two threads of a run."""

    def __init__(self, workers: Workers, *, size: int) -> None:
        self._workers = workers
        self._size = size
        self._items: deque[_Item] = deque()

    def has_room(self) -> bool:
        """Return whether ``put`` would not wait; reliable in the only thread that puts."""
        return len(self._items) < self._size

    def put(self, item: _Item) -> None:
        """Append an item as soon as there is room."""
        with self._workers.changed:
            self._workers.wait_for(self.has_room)
            self._items.append(item)
            self._workers.changed.notify_all()

    def get(self) -> _Item:
        """Return the next item as soon as there is one."""
        with self._workers.changed:
            self._workers.wait_for(lambda: bool(self._items))
            return self._take()

    def get_within(self, seconds: float) -> _Item | None:
        """Return the next item; None if there is none within this time."""
        with self._workers.changed:
            has_item = self._workers.wait_for(lambda: bool(self._items), timeout=seconds)
            return self._take() if has_item else None

    def _take(self) -> _Item:
        item = self._items.popleft()
        self._workers.changed.notify_all()
        return item


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Nothing follows: the video is over, or the rest cannot be read."""

    error: VideoError | None


class Clock:
    """Real time."""

    def now(self) -> float:
        """Return seconds that only increase."""
        return time.monotonic()

    def sleep(self, seconds: float, *, workers: Workers) -> None:
        """Wait, or raise ``StoppedError`` as soon as the threads are stopped."""
        with workers.changed:
            workers.wait_for(lambda: False, timeout=max(seconds, 0.0))


# A frame and what is to become of it, or became of it; None for a frame that is only shown.
_Prepared: TypeAlias = tuple[Frame, PreparedImage | None] | End
Classified: TypeAlias = tuple[Frame, ImageResult | None] | End


class Pipeline:
    """The threads of a run and their counts.

    Args:
        reader: Closed by the thread that reads it.
        every: Every Nth frame is classified.
        realtime: Frames are paced by their times, and dropped while earlier ones are in progress.
        wants_all: Whether skipped frames are passed on too.
    """

    def __init__(
        self,
        classifier: Classifier,
        reader: VideoReader,
        *,
        every: int = 1,
        realtime: bool = False,
        wants_all: bool = False,
    ) -> None:
        self.decoded = self.skipped = self.dropped = 0
        self._classifier = classifier
        self._reader = reader
        self._every = every
        self._realtime = realtime
        self._wants_all = wants_all
        self._clock = Clock()
        self._workers = Workers()
        size = 1 if realtime else 4
        self._frames: BoundedQueue[tuple[Frame, bool] | End] = BoundedQueue(
            self._workers, size=size
        )
        self._inputs: BoundedQueue[_Prepared] = BoundedQueue(self._workers, size=size)
        self._results: BoundedQueue[Classified] = BoundedQueue(self._workers, size=size)
        self._started = False
        self._reading_since: float | None = None

    def start(self) -> None:
        """Start the threads."""
        self._started = True
        self._workers.start(self._decode, name="decode")
        self._workers.start(self._prepare, name="prepare")
        self._workers.start(self._classify, name="classify")

    def next(self) -> Classified:
        """Return the next frame with its result, or the end.

        Raises:
            BaseException: What ended a thread.
            VideoError: If the source gives neither a frame nor an error.
        """
        while (item := self._results.get_within(_POLL_SECONDS)) is None:
            since = self._reading_since
            if since is not None and self._clock.now() - since > STALL_SECONDS:
                name = self._reader.source.name
                raise VideoError(f"{name} gave no frame for {STALL_SECONDS:.0f} seconds")
        return item

    def stop(self) -> None:
        """End the threads; a second call does nothing."""
        self._workers.stop()
        if not self._started:
            self._reader.close()

    def _decode(self) -> None:
        error = None
        with self._reader as reader:
            try:
                self._read(reader)
            except VideoError as stopped:
                error = stopped
        self._frames.put(End(error=error))

    def _read(self, reader: VideoReader) -> None:
        begin: float | None = None
        is_paced = self._realtime and not reader.source.pushed
        frames = iter(reader)
        while (decoded := self._next_frame(frames)) is not None:
            self.decoded += 1
            now = self._clock.now()
            begin = now - decoded.time if begin is None else begin
            # A sleep of 0 seconds also ends this thread when it is stopped: while all frames are
            # dropped it waits for no queue, and a camera has no last frame.
            self._clock.sleep(
                begin + decoded.time - now if is_paced else 0.0, workers=self._workers
            )
            self._pass_on(decoded)

    def _next_frame(self, frames: Iterator[DecodedFrame]) -> DecodedFrame | None:
        self._reading_since = self._clock.now()
        try:
            return next(frames, None)
        finally:
            self._reading_since = None

    def _pass_on(self, decoded: DecodedFrame) -> None:
        wanted = decoded.index % self._every == 0
        if not wanted:
            self.skipped += 1
        if self._realtime:
            # A dropped frame is not converted to RGB, which saves most of its time.
            if wanted and self._frames.has_room():
                self._frames.put((decoded.to_rgb(), True))
            elif wanted:
                self.dropped += 1
        elif wanted or self._wants_all:
            self._frames.put((decoded.to_rgb(), wanted))

    def _prepare(self) -> None:
        while not isinstance(item := self._frames.get(), End):
            frame, wanted = item
            prepared = None
            if wanted:
                name = f"{self._reader.source.name} at {frame.time:.2f} s"
                prepared = self._classifier.prepare(frame.pixels, name=name)
            self._inputs.put((frame, prepared))
        self._inputs.put(item)

    def _classify(self) -> None:
        end: End | None = None
        while end is None:
            group, end = self._next_group()
            results = self._classifier.classify_group([prepared for _, prepared in group])
            for (frame, _), result in zip(group, results, strict=True):
                self._results.put((frame, result))
        self._results.put(end)

    def _next_group(self) -> tuple[list[tuple[Frame, PreparedImage | None]], End | None]:
        """Return the next frame and those queued behind it, up to one batch of faces."""
        item: _Prepared | None = self._inputs.get()
        group: list[tuple[Frame, PreparedImage | None]] = []
        faces = 0
        while isinstance(item, tuple):
            group.append(item)
            faces += 0 if item[1] is None else len(item[1].inputs)
            if faces >= self._classifier.batch_size:
                return group, None
            item = self._inputs.get_within(0)
        return group, item

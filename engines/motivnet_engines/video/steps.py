"""The steps of a run, each in its own thread: frames decoded, prepared and classified, in order."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from motivnet.errors import VideoError
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.inference.pipeline import classified_group
from motivnet_engines.inference.preparation import PreparedImage
from motivnet_engines.inference.results import ImageResult
from motivnet_engines.video.decoding import DecodedFrame, Frame, VideoReader
from motivnet_engines.video.stages import Channel, Stages

_AHEAD = 4
STALL_SECONDS = 30.0
"""How long reading one frame may take; streams have shorter time-outs of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done with the frames; the arguments of ``predict_video``."""

    every: int
    realtime: bool
    wants_all: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedFrame:
    """A frame on its way; without ``prepared`` it is skipped and only there to be looked at."""

    frame: Frame
    prepared: PreparedImage | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifiedFrame:
    """A frame and its result; None where it was skipped."""

    frame: Frame
    result: ImageResult | None


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Nothing follows: the video is over, or could not be read on."""

    error: VideoError | None


_Decoded: TypeAlias = tuple[Frame, bool] | End
_Prepared: TypeAlias = PreparedFrame | End
Outcome: TypeAlias = ClassifiedFrame | End


class Steps:
    """The threads of a run and what they have counted.

    Args:
        reader: Closed by the thread that reads it.
    """

    def __init__(self, classifier: EmotionClassifier, reader: VideoReader, plan: Plan) -> None:
        self.decoded = self.skipped = self.dropped = 0
        self._classifier = classifier
        self._reader = reader
        self._plan = plan
        self._stages = Stages()
        ahead = 1 if plan.realtime else _AHEAD
        self._frames: Channel[_Decoded] = Channel(self._stages, size=ahead)
        self._inputs: Channel[_Prepared] = Channel(self._stages, size=ahead)
        self._outcomes: Channel[Outcome] = Channel(self._stages, size=ahead)
        self._reading_since: float | None = None

    def start(self) -> None:
        """Starts the threads."""
        self._stages.start(self._decode, name="decode")
        self._stages.start(self._prepare, name="prepare")
        self._stages.start(self._classify, name="classify")

    def next(self) -> Outcome:
        """The next frame, or the end.

        Raises:
            BaseException: What ended a thread.
            VideoError: If the source does not give a frame nor an error.
        """
        return self._outcomes.get(on_wait=self._check_stall)

    def stop(self) -> None:
        """Ends the threads."""
        self._stages.stop()

    def _check_stall(self) -> None:
        since = self._reading_since
        if since is not None and time.monotonic() - since > STALL_SECONDS:
            raise VideoError(
                f"{self._reader.source.name} gave no frame for {STALL_SECONDS:.0f} seconds"
            )

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
        frames = iter(reader)
        while (decoded := self._next_frame(frames)) is not None:
            self.decoded += 1
            begin = time.monotonic() - decoded.time if begin is None else begin
            paced = self._plan.realtime and not reader.source.pushed
            # The wait also ends this thread: frames that nobody takes are dropped, and a camera has
            # no last one.
            self._stages.wait(begin + decoded.time - time.monotonic() if paced else 0.0)
            self._hand_on(decoded)

    def _next_frame(self, frames: Iterator[DecodedFrame]) -> DecodedFrame | None:
        self._reading_since = time.monotonic()
        try:
            return next(frames, None)
        finally:
            self._reading_since = None

    def _hand_on(self, decoded: DecodedFrame) -> None:
        wanted = decoded.index % self._plan.every == 0
        self.skipped += not wanted
        if self._plan.realtime:
            # A frame that nobody waits for is not converted: that is the time to be saved.
            if wanted and not (self._frames.has_room and self._frames.offer((decoded.rgb(), True))):
                self.dropped += 1
        elif wanted or self._plan.wants_all:
            self._frames.put((decoded.rgb(), wanted))

    def _prepare(self) -> None:
        while not isinstance(item := self._frames.get(), End):
            frame, wanted = item
            prepared = None
            if wanted:
                name = f"{self._reader.source.name} at {frame.time:.2f} s"
                prepared = self._classifier.prepare(frame.pixels, name=name)
            self._inputs.put(PreparedFrame(frame=frame, prepared=prepared))
        self._inputs.put(item)

    def _classify(self) -> None:
        while True:
            group, end = self._group()
            for outcome in self._classified(group):
                self._outcomes.put(outcome)
            if end is not None:
                return self._outcomes.put(end)

    def _group(self) -> tuple[list[PreparedFrame], End | None]:
        """The next frame, and those that wait behind it as long as their faces fit into one call of the runtime."""
        item: _Prepared | None = self._inputs.get()
        group: list[PreparedFrame] = []
        while isinstance(item, PreparedFrame):
            group.append(item)
            faces = sum(len(each.prepared.inputs) for each in group if each.prepared is not None)
            if faces >= self._classifier.batch_size:
                return group, None
            item = self._inputs.get_now()
        return group, item

    def _classified(self, group: list[PreparedFrame]) -> list[ClassifiedFrame]:
        results = classified_group(self._classifier, [each.prepared for each in group])
        return [
            ClassifiedFrame(frame=each.frame, result=result)
            for each, result in zip(group, results, strict=True)
        ]

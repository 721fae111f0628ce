"""Emotions in a video, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import Self, TypeAlias

from motivnet.errors import ConfigError, VideoError
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.inference.results import ImageResult
from motivnet_engines.video.decoding import Frame, VideoReader
from motivnet_engines.video.results import (
    FrameResult,
    TrackedFace,
    VideoSummary,
    with_probabilities,
)
from motivnet_engines.video.smoothing import ProbabilitySmoother
from motivnet_engines.video.source import VideoSource
from motivnet_engines.video.steps import End, Plan, Steps
from motivnet_engines.video.tracking import FaceTracker

OnFrame: TypeAlias = Callable[[Frame, FrameResult | None], object]


def predict_video(
    classifier: EmotionClassifier,
    source: VideoSource,
    *,
    every: int = 1,
    realtime: bool = False,
    smooth: float = 0.0,
    on_frame: OnFrame | None = None,
) -> VideoRun:
    """The results of a video's frames in order, while later frames are decoded and prepared in
    threads.

    Iterate over what is returned, best in a ``with`` block; ``summary`` says at any moment what was
    seen so far, and after the end whether that was all. A video that ends too soon, or of which
    something cannot be decoded, gives the results of what there is and then raises ``VideoError``.

    Args:
        source: ``video_source(path_or_url)`` or ``camera(number)``.
        every: Classify every Nth decoded frame; the others are ``skipped``.
        realtime: Keep to the clock of the video: wait for a frame's time, and leave out
            (``dropped``) frames that come while earlier ones are still worked on. A camera and a
            stream without an end are always read so.
        smooth: Time constant in seconds of the exponential smoothing of a track's probabilities; 0
        is off.
        on_frame: Called in the caller's thread, in order, with every decoded frame (its pixels,
            ``index`` and ``time``) and the latest result: its own, or for a skipped frame the one
            before. In real time it sees only the frames that are classified. What
            ``annotated_video`` gives fits here.

    Raises:
        ConfigError: If ``every`` or ``smooth`` makes no sense.
        MissingDependencyError: Without PyAV.
        FileError: If the file is missing or not a regular file.
        VideoError: If the source cannot be opened; while iterating, if it ends too soon or cannot
        be decoded.

    Example:
        >>> with predict_video(classifier, video_source("clip.mp4"), smooth=0.5) as run:
        ...     for result in run:
        ...         print(result.time, [face.prediction.label for face in result.faces])
        >>> print(run.summary)
    """
    if every < 1:
        raise ConfigError(f"every Nth frame is classified for an N of 1 or more, not {every}")
    smoother = ProbabilitySmoother(smooth)
    reader = VideoReader(source)
    plan = Plan(every=every, realtime=realtime or reader.live, wants_all=on_frame is not None)
    return VideoRun(reader, Steps(classifier, reader, plan), smoother, on_frame=on_frame)


class VideoRun(Iterator[FrameResult]):
    """The results of a video, and the threads that make them: closed at the end, by ``close`` or
    when let go of.

    Made by ``predict_video``.
    """

    def __init__(
        self,
        reader: VideoReader,
        steps: Steps,
        smoother: ProbabilitySmoother,
        *,
        on_frame: OnFrame | None,
    ) -> None:
        self._reader = reader
        self._state = _State(reader, steps)
        self._results = _results(self._state, steps, smoother, on_frame)

    def __next__(self) -> FrameResult:
        return next(self._results)

    @property
    def rate(self) -> float:
        """Frames per second, on average."""
        return self._reader.rate

    @property
    def live(self) -> bool:
        """Whether it goes on until someone ends it: a camera, or a stream that is being made."""
        return self._reader.live

    @property
    def summary(self) -> VideoSummary:
        """What was seen so far; final after the last result or ``close``."""
        return self._state.summary()

    def close(self) -> None:
        """Stops the threads and closes the source; a second call does nothing."""
        self._results.close()
        self._state.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _State:
    """How far a run is, and how it ended."""

    def __init__(self, reader: VideoReader, steps: Steps) -> None:
        self.name = reader.source.name
        self.classified = 0
        self.started = False
        self.over = False
        self.seen_to_end = False
        self.error: str | None = None
        self._reader = reader
        self._steps = steps

    def summary(self) -> VideoSummary:
        """As things are now."""
        counted = self.classified + self._steps.skipped + self._steps.dropped
        # Of a video that was seen to its end nothing is under way; a frame missing in the sum would
        # be a fault of ours.
        under_way = self._steps.decoded - counted if self.over and not self.seen_to_end else 0
        return VideoSummary(
            name=self.name,
            decoded=self._steps.decoded,
            classified=self.classified,
            skipped=self._steps.skipped,
            dropped=self._steps.dropped + under_way,
            damaged=self._reader.account.damaged,
            duration=self._reader.seen,
            complete=self.over and self.error is None,
            error=self.error,
        )

    def end_of_video(self, end: End) -> None:
        """Notes that nothing follows.

        Raises:
            VideoError: If the video should have had more.
        """
        self.seen_to_end = True
        problem = str(end.error) if end.error is not None else self._reader.missing()
        self.end(None if problem is None else VideoError(problem))
        if problem is not None:
            raise VideoError(problem) from end.error

    def end(self, error: BaseException | None) -> None:
        """Notes how the run ended, once; a caller who stops a camera has seen all there is."""
        if self.over:
            return
        self.over = True
        if isinstance(error, (GeneratorExit, KeyboardInterrupt)):
            stopped = f"{self.name} was stopped after {self._reader.seen:.2f} s"
            self.error = None if self._reader.live else stopped
        elif error is not None:
            self.error = str(error) or type(error).__name__

    def close(self) -> None:
        """Ends a run whose threads were never started."""
        if not self.started:
            self.end(GeneratorExit())
            self._reader.close()


def _results(
    state: _State, steps: Steps, smoother: ProbabilitySmoother, on_frame: OnFrame | None
) -> Generator[FrameResult, None, None]:
    """A function and no method, so that a run that is let go of is closed by its generator."""
    tracker = FaceTracker()
    latest: FrameResult | None = None
    state.started = True
    steps.start()
    try:
        while not isinstance(outcome := steps.next(), End):
            result = None
            if outcome.result is not None:
                result = latest = _tracked(
                    state.name, outcome.frame, outcome.result, tracker, smoother
                )
            if on_frame is not None:
                on_frame(outcome.frame, latest)
            if result is not None:
                state.classified += 1
                yield result
        state.end_of_video(outcome)
    except BaseException as error:
        state.end(error)
        raise
    finally:
        steps.stop()


def _tracked(
    name: str,
    frame: Frame,
    result: ImageResult,
    tracker: FaceTracker,
    smoother: ProbabilitySmoother,
) -> FrameResult:
    tracks = tracker.update([face.box for face in result.faces], frame.time)
    smoother.keep(tracker.tracks)
    faces = []
    for track, face in zip(tracks, result.faces, strict=True):
        probabilities = smoother.smoothed(track, frame.time, face.probabilities)
        faces.append(TrackedFace(track=track, prediction=with_probabilities(face, probabilities)))
    return FrameResult(
        name=name,
        index=frame.index,
        time=frame.time,
        width=result.width,
        height=result.height,
        faces=tuple(faces),
        timing=result.timing,
    )

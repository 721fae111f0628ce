"""Emotions in a video, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import TypeAlias

from motivnet.errors import ConfigError, VideoError
from motivnet.prediction import Prediction
from motivnet_engines.inference.cascade import Classifier
from motivnet_engines.inference.results import ImageResult
from motivnet_engines.video.decoding import Frame, VideoReader
from motivnet_engines.video.pipeline import End, Pipeline
from motivnet_engines.video.results import FrameResult, TrackedFace, VideoSummary
from motivnet_engines.video.source import VideoSource
from motivnet_engines.video.tracking import FaceTracker, ProbabilitySmoother

OnFrame: TypeAlias = Callable[[Frame, FrameResult | None], object]


def predict_video(
    classifier: Classifier,
    source: VideoSource,
    *,
    every: int = 1,
    realtime: bool = False,
    smooth: float = 0.0,
    on_frame: OnFrame | None = None,
) -> VideoRun:
    """Return the results of a video's frames in order; later frames are decoded in threads.

    Iterate over the result, best in a ``with`` block. ``summary`` tells at any time what was seen
    so far, and after the end whether that was everything. A video that ends too soon or cannot be
    decoded completely gives the results that are possible and then raises ``VideoError``.

    Args:
        source: ``video_source(path_or_url)`` or ``camera(number)``.
        every: Classify every Nth decoded frame; the others are ``skipped``.
        realtime: Follow the clock of the video: wait for the time of each frame, and leave out
            (``dropped``) frames that arrive while earlier ones are in progress. Cameras and live
            streams are always read in this way.
        smooth: Time constant in seconds of the exponential smoothing of a track's probabilities; 0
            is off.
        on_frame: Called in the caller's thread, in order, with every decoded frame (its pixels,
            ``index`` and ``time``) and the latest result: its own, or for a skipped frame the
            previous one. With ``realtime`` it sees only classified frames. ``annotated_video``
            gives such a function.

    Raises:
        ConfigError: If ``every`` or ``smooth`` is out of range.
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
    pipeline = Pipeline(
        classifier,
        reader,
        every=every,
        realtime=realtime or reader.live,
        wants_all=on_frame is not None,
    )
    return VideoRun(reader, pipeline, smoother, on_frame=on_frame)


class VideoRun(Iterator[FrameResult]):
    """The results of a video and the threads that compute them; made by ``predict_video``.

    The threads end at the end of the video, at ``close``, or when the run is garbage-collected.
    """

    def __init__(
        self,
        reader: VideoReader,
        pipeline: Pipeline,
        smoother: ProbabilitySmoother,
        *,
        on_frame: OnFrame | None,
    ) -> None:
        self._reader = reader
        self._pipeline = pipeline
        self._state = _State(reader, pipeline)
        self._results = _results(self._state, pipeline, smoother, on_frame)

    def __next__(self) -> FrameResult:
        return next(self._results)

    @property
    def rate(self) -> float:
        """Frames per second, on average."""
        return self._reader.rate

    @property
    def live(self) -> bool:
        """Whether it has no end: a camera or a live stream."""
        return self._reader.live

    @property
    def summary(self) -> VideoSummary:
        """What was seen so far; final after the last result or ``close``."""
        return self._state.summary()

    def close(self) -> None:
        """Stop the threads and close the source; a second call does nothing."""
        self._results.close()
        self._state.end(GeneratorExit())
        self._pipeline.stop()

    def __enter__(self) -> VideoRun:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _State:
    """How far a run is, and how it ended."""

    def __init__(self, reader: VideoReader, pipeline: Pipeline) -> None:
        self.name = reader.source.name
        self.classified = 0
        self._is_over = False
        self._seen_to_end = False
        self._error: str | None = None
        self._reader = reader
        self._pipeline = pipeline

    def summary(self) -> VideoSummary:
        counted = self.classified + self._pipeline.skipped + self._pipeline.dropped
        # After a run that was stopped, frames may be left in the queues. After the end of the
        # video there are none: a difference would be a bug and must stay visible.
        in_progress = 0
        if self._is_over and not self._seen_to_end:
            in_progress = self._pipeline.decoded - counted
        return VideoSummary(
            name=self.name,
            decoded=self._pipeline.decoded,
            classified=self.classified,
            skipped=self._pipeline.skipped,
            dropped=self._pipeline.dropped + in_progress,
            damaged=self._reader.received.damaged,
            duration=self._reader.duration,
            complete=self._is_over and self._error is None,
            error=self._error,
        )

    def end_of_video(self, end: End) -> None:
        """Note that nothing follows.

        Raises:
            VideoError: If something is missing.
        """
        self._seen_to_end = True
        problem = str(end.error) if end.error is not None else self._reader.missing()
        error = None if problem is None else VideoError(problem)
        self.end(error)
        if error is not None:
            raise error from end.error

    def end(self, error: BaseException | None) -> None:
        """Note how the run ended, once; stopping a live source is a complete run."""
        if self._is_over:
            return
        self._is_over = True
        if isinstance(error, (GeneratorExit, KeyboardInterrupt)):
            stopped = f"{self.name} was stopped after {self._reader.duration:.2f} s"
            self._error = None if self._reader.live else stopped
        elif error is not None:
            self._error = str(error) or type(error).__name__


def _results(
    state: _State, pipeline: Pipeline, smoother: ProbabilitySmoother, on_frame: OnFrame | None
) -> Generator[FrameResult, None, None]:
    """Yield the results.

    Not a method: a generator that referred to its ``VideoRun`` would keep a forgotten run alive.
    """
    tracker = FaceTracker()
    latest: FrameResult | None = None
    pipeline.start()
    try:
        while not isinstance(item := pipeline.next(), End):
            frame, classified = item
            if classified is not None:
                latest = _tracked(state.name, frame, classified, tracker, smoother)
            if on_frame is not None:
                on_frame(frame, latest)
            if classified is not None and latest is not None:
                state.classified += 1
                yield latest
        state.end_of_video(item)
    except BaseException as error:
        state.end(error)
        raise
    finally:
        pipeline.stop()


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
        probabilities = smoother.smooth(track, frame.time, face.probabilities)
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


def with_probabilities(prediction: Prediction, probabilities: dict[str, float]) -> Prediction:
    """Return the prediction with other probabilities; an ``unknown`` face stays unknown."""
    best = max(probabilities, key=probabilities.__getitem__)
    label = best if prediction.label in probabilities else prediction.label
    return replace(
        prediction, label=label, confidence=probabilities[best], probabilities=probabilities
    )

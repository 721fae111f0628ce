"""The part of ``motivnet predict`` that reads videos, cameras and streams; it needs PyAV."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motivnet.errors import FileError
from motivnet_engines.classifier import EmotionClassifier
from motivnet_engines.output.montage import MontageWriter, face_tile
from motivnet_engines.output.records import Record, record_of_end, record_of_frame
from motivnet_engines.predict_run import Listener, RunOptions
from motivnet_engines.video.annotated import annotated_video, check_suffix
from motivnet_engines.video.decoding import Frame
from motivnet_engines.video.results import FrameResult, VideoError, VideoSummary
from motivnet_engines.video.run import OnFrame, VideoRun, predict_video
from motivnet_engines.video.source import VideoSource


def predict_videos(
    classifier: EmotionClassifier,
    sources: Sequence[VideoSource],
    *,
    options: RunOptions,
    listener: Listener,
    montage: MontageWriter | None,
) -> None:
    """Reads videos one after the other, as ``predict_sources`` says."""
    for source in sources:
        try:
            summary = _predict_video(classifier, source, options=options, listener=listener, montage=montage)
        except (VideoError, FileError) as error:
            listener.record(Record(file=source.name, error=" ".join(str(error).split())))
            listener.error(str(error))
        else:
            listener.record(record_of_end(summary))
            listener.remark(_counts(summary))
            if summary.error is not None:
                listener.error(summary.error)
        listener.finished(1)


class Portraits:
    """The best view of each face of a video, by the detector's score."""

    def __init__(self) -> None:
        self._tiles: dict[int, tuple[float, NDArray[np.uint8]]] = {}

    def add(self, frame: Frame, result: FrameResult | None) -> None:
        """Takes the faces of a frame that has a result of its own."""
        if result is None or result.index != frame.index:
            return
        for face in result.faces:
            score = face.prediction.score or 0.0
            if face.track not in self._tiles or score > self._tiles[face.track][0]:
                name = f"#{face.track}, {frame.time:.2f} s"
                self._tiles[face.track] = score, face_tile(frame.pixels, face.prediction, name=name)

    def put_into(self, montage: MontageWriter) -> None:
        """One tile a face, in the order in which they came."""
        for _, tile in self._tiles.values():
            montage.add_tile(tile)


def _predict_video(
    classifier: EmotionClassifier,
    source: VideoSource,
    *,
    options: RunOptions,
    listener: Listener,
    montage: MontageWriter | None,
) -> VideoSummary:
    portraits, target = Portraits(), options.targets.get(source)
    hooks: list[OnFrame] = [] if montage is None else [portraits.add]
    if target is not None:
        check_suffix(target)
    run = predict_video(
        classifier,
        source,
        every=options.every,
        realtime=options.realtime,
        smooth=options.smooth,
        on_frame=(lambda frame, result: _call(hooks, frame, result)) if hooks or target else None,
    )
    with run, _timeline(options.timeline) as add_to_timeline, _annotated(target, run) as draw:
        hooks += [draw] if draw is not None else []
        _consume(run, source, [lambda found: listener.record(record_of_frame(found)), add_to_timeline])
    if montage is not None:
        portraits.put_into(montage)
    return run.summary


def _consume(run: VideoRun, source: VideoSource, takers: Sequence[Callable[[FrameResult], object]]) -> None:
    """Hands on every result; an early end is left to the run's summary, so that what was seen is kept."""
    # Ctrl-C is how a person ends a camera.
    ends = (VideoError, KeyboardInterrupt) if source.live else (VideoError,)
    with contextlib.suppress(*ends):
        for found in run:
            for take in takers:
                take(found)


def _call(hooks: Sequence[OnFrame], frame: Frame, result: FrameResult | None) -> None:
    for hook in hooks:
        hook(frame, result)


@contextlib.contextmanager
def _annotated(target: Path | None, run: VideoRun) -> Iterator[OnFrame | None]:
    if target is None:
        yield None
        return
    with annotated_video(target, rate=run.rate) as draw:
        yield draw


@contextlib.contextmanager
def _timeline(path: Path | None) -> Iterator[Callable[[FrameResult], object]]:
    if path is None:
        yield lambda _: None
        return
    from motivnet_engines.video.timeline import Timeline

    timeline = Timeline()
    yield timeline.add
    timeline.write(path)


def _counts(summary: VideoSummary) -> str:
    named = {"classified": summary.classified, "skipped": summary.skipped, "dropped": summary.dropped}
    named["damaged"] = summary.damaged
    parts = ", ".join(f"{count:,} {name}" for name, count in named.items() if count)
    return f"{summary.name}: {summary.decoded:,} frames in {summary.duration:.2f} s ({parts or 'none classified'})"

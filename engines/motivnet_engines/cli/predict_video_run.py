"""The part of ``motivnet predict`` that reads videos, cameras and streams; it needs PyAV."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from motivnet.errors import FileError, VideoError
from motivnet.printable import one_line
from motivnet_engines.cli.predict_report import Report, RunOptions
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.video.decoding import Frame
from motivnet_engines.video.results import FrameResult, VideoSummary
from motivnet_engines.video.run import OnFrame, VideoRun, predict_video
from motivnet_engines.video.source import VideoSource
from motivnet_engines.writers.annotated_video import annotated_video
from motivnet_engines.writers.montage import MontageWriter, face_tile
from motivnet_engines.writers.records import Record, record_of_end, record_of_frame

if TYPE_CHECKING:
    from motivnet_engines.writers.timeline import Timeline


def predict_videos(
    classifier: EmotionClassifier,
    sources: Sequence[VideoSource],
    *,
    options: RunOptions,
    report: Report,
    montage: MontageWriter | None,
) -> None:
    """Reads videos one after the other, as ``predict_sources`` says.

    Raises:
        KeyboardInterrupt: When everything that was seen is recorded. For the last source it is no
            interruption if that is live: this is how a person ends a camera.
    """
    for source in sources:
        try:
            run, stopped = _predict_video(
                classifier, source, options=options, report=report, montage=montage
            )
        except (VideoError, FileError) as error:
            report.record(Record(file=source.name, error=one_line(error)))
            report.errors.append(one_line(error))
            report.finish()
            continue
        report.finish()
        if stopped and not (run.live and report.finished == report.total):
            raise KeyboardInterrupt


class Portraits:
    """The best view of each face of a video, by the detector's score."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tiles: dict[int, tuple[float, NDArray[np.uint8]]] = {}

    def add(self, frame: Frame, result: FrameResult | None) -> None:
        """Takes the faces of a frame that has a result of its own."""
        if result is None or result.index != frame.index:
            return
        for face in result.faces:
            score = face.prediction.score or 0.0
            if face.track not in self._tiles or score > self._tiles[face.track][0]:
                detail = f" #{face.track}, {frame.time:.2f} s"
                tile = face_tile(frame.pixels, face.prediction, name=self._name, detail=detail)
                self._tiles[face.track] = score, tile

    def put_into(self, montage: MontageWriter) -> None:
        """One tile a face, in the order in which they came."""
        for _, tile in self._tiles.values():
            montage.add_tile(tile)


def _predict_video(
    classifier: EmotionClassifier,
    source: VideoSource,
    *,
    options: RunOptions,
    report: Report,
    montage: MontageWriter | None,
) -> tuple[VideoRun, bool]:
    """The run, which is over, and whether Ctrl-C ended it."""
    portraits, target = (
        Portraits(options.names.get(source, source.name)),
        options.targets.get(source),
    )
    timeline = _new_timeline(options)
    hooks: list[OnFrame] = [] if montage is None else [portraits.add]
    run = predict_video(
        classifier,
        source,
        every=options.every,
        realtime=options.realtime,
        smooth=options.smooth,
        on_frame=(lambda frame, result: _call(hooks, frame, result)) if hooks or target else None,
    )
    takers: list[Callable[[FrameResult], object]] = [
        lambda found: report.record(record_of_frame(found))
    ]
    takers += [] if timeline is None else [timeline.add]
    stopped, failure = False, None
    try:
        with run, _annotated(target, run) as draw:
            hooks += [draw] if draw is not None else []
            stopped = _consume(run, takers)
    except (VideoError, FileError) as error:
        failure = error
    _report_end(run.summary, target, report, stopped=stopped, failure=failure)
    if montage is not None:
        portraits.put_into(montage)
    if timeline is not None and options.timeline is not None and run.summary.classified:
        _write_timeline(timeline, options.timeline, report, duration=run.summary.duration)
    return run, stopped


def _report_end(
    summary: VideoSummary,
    target: Path | None,
    report: Report,
    *,
    stopped: bool,
    failure: Exception | None,
) -> None:
    """What was seen of a video, and why no more; a copy that could not be made comes after the video's own error."""
    report.record(record_of_end(summary))
    drawn = target is not None and failure is None
    report.remarks.append(
        _counts(summary) + (f"; {target} holds them" if drawn and summary.error is not None else "")
    )
    if summary.error is not None:
        report.errors += [] if stopped else [summary.error]
    elif failure is not None:
        report.errors.append(one_line(failure))


def _consume(run: VideoRun, takers: Sequence[Callable[[FrameResult], object]]) -> bool:
    """Hands on every result, and says whether Ctrl-C ended that.

    An early end is left to the run's summary, so that what was seen is kept.
    """
    try:
        for found in run:
            for take in takers:
                take(found)
    except VideoError:
        return False
    except KeyboardInterrupt:
        return True
    return False


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


def _new_timeline(options: RunOptions) -> Timeline | None:
    if options.timeline is None:
        return None
    from motivnet_engines.writers.timeline import Timeline

    return Timeline()


def _write_timeline(timeline: Timeline, path: Path, report: Report, *, duration: float) -> None:
    try:
        timeline.write(path, duration=duration)
    except FileError as error:
        report.errors.append(one_line(error))


def _counts(summary: VideoSummary) -> str:
    named = {
        "classified": summary.classified,
        "skipped": summary.skipped,
        "dropped": summary.dropped,
    }
    named["damaged"] = summary.damaged
    parts = ", ".join(f"{count:,} {name}" for name, count in named.items() if count)
    return f"{summary.name}: {summary.decoded:,} frames in {summary.duration:.2f} s ({parts or 'none classified'})"

"""The work of ``motivnet predict``: images in batches, videos one by one, and their pictures."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from motivnet.errors import (
    BrokenDependencyError,
    FileError,
    MissingDependencyError,
    MotivNetError,
    VideoError,
)
from motivnet.images import read_image
from motivnet.printable import one_line
from motivnet_engines.cli.predict_files import Pictures
from motivnet_engines.cli.predict_sources import Source, name_of, path_of
from motivnet_engines.inference.cascade import Classifier
from motivnet_engines.inference.downloads import FetchedImage
from motivnet_engines.inference.image_files import FileResult, ImageFile, predict_files
from motivnet_engines.video.results import FrameResult, VideoSummary
from motivnet_engines.video.source import VideoSource
from motivnet_engines.writers.drawing import write_annotated
from motivnet_engines.writers.montage import BestFaces, MontageWriter, sheets_text, short_names
from motivnet_engines.writers.records import (
    Record,
    record_from_file,
    record_from_frame,
    record_from_summary,
)

if TYPE_CHECKING:
    from motivnet_engines.video.decoding import Frame
    from motivnet_engines.video.run import OnFrame, VideoRun
    from motivnet_engines.writers.timeline import Timeline


class PredictRun:
    """One run over sources, and what there is to report at its end.

    Args:
        record: Called with every record.
        advance: Called with 1 for every finished source.
        every: Videos: classify every Nth frame.
        realtime: Videos: keep to the clock and drop late frames.
        smooth: Videos: seconds to smooth probabilities over.

    Attributes:
        stopped: How Ctrl-C ended the run early, or None.
        errors: What failed, one line each.
        remarks: What else the user should know, one line each.
    """

    def __init__(
        self,
        classifier: Classifier,
        sources: Sequence[Source],
        pictures: Pictures,
        *,
        record: Callable[[Record], object],
        advance: Callable[[int], object],
        every: int = 1,
        realtime: bool = False,
        smooth: float = 0.0,
    ) -> None:
        self.stopped: str | None = None
        self.errors: list[str] = []
        self.remarks: list[str] = []
        self._classifier = classifier
        self._sources = sources
        self._pictures = pictures
        self._record = record
        self._advance = advance
        self._every, self._realtime, self._smooth = every, realtime, smooth
        self._finished = 0
        self._montage = None if pictures.montage is None else MontageWriter(pictures.montage)
        self._names = short_names(path for source in sources if (path := path_of(source)))

    def run(self) -> None:
        """Read every source in order; one that cannot be read does not stop the others.

        Ctrl-C, and an error of the runtime after a first result, end the run and keep what there
        is: the source at which they did has a record that says so.

        Raises:
            KeyboardInterrupt, MotivNetError: Before there was anything to keep.
        """
        try:
            for is_video, group in itertools.groupby(
                self._sources, lambda source: isinstance(source, VideoSource)
            ):
                if not is_video:
                    self._predict_images([s for s in group if not isinstance(s, VideoSource)])
                    continue
                for source in group:
                    if isinstance(source, VideoSource):
                        self._predict_video(source)
        except (KeyboardInterrupt, MotivNetError) as error:
            if not self._finished:
                raise
            self._record_end(error)
        if self._montage is not None:
            self._close_montage(self._montage)

    def _predict_images(self, images: Sequence[ImageFile]) -> None:
        for found in predict_files(self._classifier, images):
            self._record(record_from_file(found))
            self._finish()
            if found.error is not None:
                self.errors.append(found.error)
                continue
            try:
                self._draw_image(found)
            except MotivNetError as error:
                self.errors.append(one_line(error))

    def _draw_image(self, found: FileResult) -> None:
        target = self._pictures.copies.get(found.image)
        if found.result is None or (target is None and self._montage is None):
            return
        # Results come without pixels, so that thousands may wait in a batch: read the image again.
        pixels = read_image(found.path, limits=self._classifier.limits)
        faces = found.result.faces
        if target is not None:
            write_annotated(pixels, target, faces)
        if self._montage is not None:
            name = self._short_name(found.image)
            for number, face in enumerate(faces, 1):
                detail = f" #{number}" if len(faces) > 1 else ""
                self._montage.add(pixels, face, name=name, detail=detail)

    def _predict_video(self, source: VideoSource) -> None:
        """Read a video; Ctrl-C is raised again once everything seen is recorded.

        For the last source it is not an interruption if that is live: it is how to end a camera.
        """
        try:
            from motivnet_engines.video.run import predict_video
        except (MissingDependencyError, BrokenDependencyError) as error:
            self._fail(source, f"{source.name} is not read: {error}")
            return
        hooks: list[OnFrame] = []
        best = BestFaces(self._short_name(source))
        if self._montage is not None:
            hooks.append(best.add)

        def on_frame(frame: Frame, result: FrameResult | None) -> None:
            for hook in hooks:
                hook(frame, result)

        target = self._pictures.copies.get(source)
        draws = self._montage is not None or target is not None
        try:
            run = predict_video(
                self._classifier,
                source,
                every=self._every,
                realtime=self._realtime,
                smooth=self._smooth,
                on_frame=on_frame if draws else None,
            )
        except (VideoError, FileError) as error:
            self._fail(source, one_line(error))
            return
        stopped = self._read_frames(run, target, hooks)
        if self._montage is not None:
            best.add_to(self._montage)
        self._finish()
        if stopped and not (run.live and self._finished == len(self._sources)):
            raise KeyboardInterrupt

    def _fail(self, source: VideoSource, reason: str) -> None:
        """Record a video of which nothing was read."""
        self._record(Record(file=source.name, error=reason))
        self.errors.append(reason)
        self._finish()

    def _read_frames(self, run: VideoRun, target: Path | None, hooks: list[OnFrame]) -> bool:
        """Record and draw a video, and return whether Ctrl-C ended that."""
        from motivnet_engines.writers.annotated_video import annotated_video

        timeline = None
        if self._pictures.timeline is not None:
            from motivnet_engines.writers.timeline import Timeline

            timeline = Timeline(self._pictures.timeline)
        stopped, drawing_error = False, None
        try:
            with run, contextlib.ExitStack() as stack:
                if target is not None:
                    hooks.append(stack.enter_context(annotated_video(target, rate=run.rate)))
                stopped = self._record_frames(run, timeline)
        except (VideoError, FileError) as error:
            drawing_error = error
        self._report_video(run.summary, target, drawing_error, stopped=stopped)
        if timeline is not None and run.summary.classified:
            try:
                timeline.write(duration=run.summary.duration)
            except FileError as error:
                self.errors.append(one_line(error))
        return stopped

    def _record_frames(self, run: VideoRun, timeline: Timeline | None) -> bool:
        """Record every result, and return whether Ctrl-C ended that.

        An error of the video is left to the run's summary, so that the annotated copy is kept.
        """
        try:
            for found in run:
                self._record(record_from_frame(found))
                if timeline is not None:
                    timeline.add(found)
        except VideoError:
            return False
        except KeyboardInterrupt:
            return True
        return False

    def _report_video(
        self,
        summary: VideoSummary,
        target: Path | None,
        drawing_error: Exception | None,
        *,
        stopped: bool,
    ) -> None:
        self._record(record_from_summary(summary))
        remark = _frame_counts(summary)
        if target is not None and drawing_error is None and summary.error is not None:
            remark += f"; {target} holds them"
        self.remarks.append(remark)
        # A copy that could not be made is a consequence of the video's error, if it has one.
        if summary.error is not None:
            self.errors += [] if stopped else [summary.error]
        elif drawing_error is not None:
            self.errors.append(one_line(drawing_error))

    def _finish(self) -> None:
        self._finished += 1
        self._advance(1)

    def _short_name(self, source: Source) -> str:
        """Return as much of a source's path as tells it from the others."""
        if isinstance(source, FetchedImage):
            return source.file.name
        path = path_of(source)
        return name_of(source) if path is None else self._names[path]

    def _record_end(self, error: BaseException) -> None:
        """Say what ended the run, also in a record of the first source that was not read."""
        unread = self._sources[self._finished :]
        if isinstance(error, KeyboardInterrupt):
            reason = "stopped by Ctrl-C"
            if unread:
                total = len(self._sources)
                reason += f"; {len(unread):,} of {total:,} images and videos were not read"
            self.stopped = reason
        else:
            reason = one_line(error)
            self.errors.append(reason)
        if unread:
            self._record(Record(file=name_of(unread[0]), error=reason))

    def _close_montage(self, montage: MontageWriter) -> None:
        montage.close()
        sheets = len(montage.sheets)
        if sheets > 1:
            self.remarks.append(f"the montage has {sheets} sheets: {sheets_text(montage.sheets)}")
        if montage.failure is not None:
            self.errors.append(one_line(montage.failure))
        elif montage.left_out:
            self.remarks.append(
                f"{montage.left_out:,} faces have no place on the {sheets} sheets of the montage"
            )


def _frame_counts(summary: VideoSummary) -> str:
    names = ("classified", "skipped", "dropped", "damaged")
    parts = ", ".join(f"{count:,} {name}" for name in names if (count := getattr(summary, name)))
    return (
        f"{summary.name}: {summary.decoded:,} frames in {summary.duration:.2f} s "
        f"({parts or 'none classified'})"
    )

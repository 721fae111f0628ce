"""The work of ``motivnet predict``: images in batches, videos one after the other, records and pictures of both."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from motivnet.errors import MotivNetError
from motivnet.images import read_image
from motivnet.printable import one_line
from motivnet_engines.cli.predict_report import Report, RunOptions
from motivnet_engines.cli.predict_sources import Source, name_of
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.inference.image_files import FileResult, predict_files
from motivnet_engines.video.source import VideoSource
from motivnet_engines.writers.annotated_images import write_annotated
from motivnet_engines.writers.montage import MontageWriter, sheets_text
from motivnet_engines.writers.records import Record, record_of_file


def predict_sources(
    classifier: EmotionClassifier, sources: Sequence[Source], *, options: RunOptions, report: Report
) -> None:
    """Reads every source in order; one that cannot be read is reported and does not stop the
    others.

    Ctrl-C, and an error of the runtime after a first result, end the run and leave what there is:
    the source that they ended it at has a record that says so.

    Raises:
        KeyboardInterrupt, MotivNetError: Before there was anything to keep.
    """
    montage = None if options.montage is None else MontageWriter(options.montage)
    try:
        _predict_groups(classifier, sources, options=options, report=report, montage=montage)
    except (KeyboardInterrupt, MotivNetError) as error:
        if not report.finished:
            raise
        _mark_end(sources, report, error)
    if montage is not None:
        _end_montage(montage, report)


def _predict_groups(
    classifier: EmotionClassifier,
    sources: Sequence[Source],
    *,
    options: RunOptions,
    report: Report,
    montage: MontageWriter | None,
) -> None:
    for moving, group in itertools.groupby(
        sources, key=lambda source: isinstance(source, VideoSource)
    ):
        if moving:
            from motivnet_engines.cli.predict_video_run import predict_videos

            videos = [source for source in group if isinstance(source, VideoSource)]
            predict_videos(classifier, videos, options=options, report=report, montage=montage)
        else:
            paths = [source for source in group if isinstance(source, Path)]
            _predict_images(classifier, paths, options=options, report=report, montage=montage)


def _predict_images(
    classifier: EmotionClassifier,
    paths: Sequence[Path],
    *,
    options: RunOptions,
    report: Report,
    montage: MontageWriter | None,
) -> None:
    for found in predict_files(classifier, paths):
        report.record(record_of_file(found))
        report.finish()
        if found.error is not None:
            report.errors.append(found.error)
        elif montage is not None or found.path in options.targets:
            try:
                _draw(found, options, montage)
            except MotivNetError as error:
                report.errors.append(one_line(error))


def _draw(found: FileResult, options: RunOptions, montage: MontageWriter | None) -> None:
    """Reads the image once more, because results come without pixels, so that thousands may wait in a batch."""
    faces = () if found.result is None else found.result.faces
    pixels = read_image(found.path)
    if (target := options.targets.get(found.path)) is not None:
        write_annotated(pixels, target, faces)
    if montage is not None:
        name = options.names.get(found.path, found.path.name)
        for number, face in enumerate(faces, 1):
            montage.add(pixels, face, name=name, detail=f" #{number}" if len(faces) > 1 else "")


def _mark_end(sources: Sequence[Source], report: Report, error: BaseException) -> None:
    """Leaves word, in a record of the first source that was not read, of what ended the run."""
    unread = sources[report.finished :]
    if isinstance(error, KeyboardInterrupt):
        count = (
            f"; {len(unread):,} of {report.total:,} images and videos were not read"
            if unread
            else ""
        )
        reason = report.stopped = f"stopped by Ctrl-C{count}"
    else:
        reason = one_line(error)
        report.errors.append(reason)
    if unread:
        report.record(Record(file=name_of(unread[0]), error=reason))


def _end_montage(montage: MontageWriter, report: Report) -> None:
    montage.close()
    if len(montage.sheets) > 1:
        report.remarks.append(
            f"the montage has {len(montage.sheets)} sheets: {sheets_text(montage.sheets)}"
        )
    if montage.failure is not None:
        report.errors.append(one_line(montage.failure))
    elif montage.left_out:
        report.remarks.append(
            f"{montage.left_out:,} faces have no place on the {len(montage.sheets)} sheets of the montage"
        )

"""The work of ``motivnet predict``: images in batches, videos one after the other, records and pictures of both."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from motivnet.errors import ConfigError, FileError, MotivNetError
from motivnet.images import IMAGE_SUFFIXES, read_image
from motivnet_engines.classifier import EmotionClassifier
from motivnet_engines.image_files import FileResult, predict_files
from motivnet_engines.output.annotated import write_annotated
from motivnet_engines.output.montage import MontageWriter
from motivnet_engines.output.records import Record, record_of_file
from motivnet_engines.predict_sources import Source
from motivnet_engines.video.source import VideoSource


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How videos are read and which pictures are made.

    Args:
        targets: Where the annotated copy of a source goes; sources without one get none.
        montage: A sheet of all faces; of a video, each face at its best.
        timeline: A plot of the one video's emotions.
    """

    targets: Mapping[Source, Path] = field(default_factory=dict)
    montage: Path | None = None
    timeline: Path | None = None
    every: int = 1
    realtime: bool = False
    smooth: float = 0.0

    def check(self, sources: Sequence[Source]) -> None:
        """Refuses what could not be written in the end, before any work is done.

        Raises:
            ConfigError: If a picture is not named as one, or a timeline is asked for without exactly one video.
        """
        for path, suffixes in ((self.montage, IMAGE_SUFFIXES), (self.timeline, {".png"})):
            if path is not None and path.suffix.lower() not in suffixes:
                raise ConfigError(f"{path} is not the name of a picture; give one that ends with .png")
        videos = sum(isinstance(source, VideoSource) for source in sources)
        if self.timeline is not None and videos != 1:
            raise ConfigError(f"--timeline shows one video, and there are {videos}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Who hears of what: every record, every source that is finished, remarks, and what could not be done."""

    record: Callable[[Record], object]
    finished: Callable[[int], object]
    remark: Callable[[str], object]
    error: Callable[[str], object]


def predict_sources(
    classifier: EmotionClassifier, sources: Sequence[Source], *, options: RunOptions, listener: Listener
) -> None:
    """Reads every source in order; one that cannot be read is told to the listener and does not stop the others.

    Raises:
        ArtifactError: If the model gives logits that are not finite.
        MissingDependencyError: For a video without PyAV, and a timeline without matplotlib.
        FileError: If a montage cannot be written.
    """
    with _montage(options.montage) as montage:
        for moving, group in itertools.groupby(sources, key=lambda source: isinstance(source, VideoSource)):
            if moving:
                from motivnet_engines.predict_video_run import predict_videos

                videos = [source for source in group if isinstance(source, VideoSource)]
                predict_videos(classifier, videos, options=options, listener=listener, montage=montage)
            else:
                paths = [source for source in group if isinstance(source, Path)]
                _predict_images(classifier, paths, options=options, listener=listener, montage=montage)
    if montage is not None and montage.left_out:
        listener.remark(f"{montage.left_out:,} faces have no place on the {len(montage.sheets)} sheets of the montage")


def _predict_images(
    classifier: EmotionClassifier,
    paths: Sequence[Path],
    *,
    options: RunOptions,
    listener: Listener,
    montage: MontageWriter | None,
) -> None:
    for found in predict_files(classifier, paths, on_files=listener.finished):
        listener.record(record_of_file(found))
        if found.error is not None:
            listener.error(found.error)
        elif montage is not None or found.path in options.targets:
            try:
                _draw(found, options.targets.get(found.path), montage)
            except MotivNetError as error:
                listener.error(str(error))


def _draw(found: FileResult, target: Path | None, montage: MontageWriter | None) -> None:
    """Reads the image once more, because results come without pixels, so that thousands may wait in a batch."""
    faces = () if found.result is None else found.result.faces
    pixels = read_image(found.path)
    if target is not None:
        write_annotated(pixels, target, faces)
    if montage is not None:
        for face in faces:
            montage.add(pixels, face, name=found.path.name)


@contextlib.contextmanager
def _montage(path: Path | None) -> Iterator[MontageWriter | None]:
    if path is None:
        yield None
        return
    if path.is_dir():
        raise FileError(f"{path} is a directory; give the name of an image for --montage")
    with MontageWriter(path) as montage:
        yield montage

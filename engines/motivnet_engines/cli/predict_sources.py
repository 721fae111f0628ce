"""What ``motivnet predict`` is given: images, folders, patterns, videos, a camera, streams."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

from motivnet.errors import ConfigError
from motivnet.images import IMAGE_SUFFIXES
from motivnet_engines.inference.image_files import expanded_paths
from motivnet_engines.video.source import (
    VIDEO_SUFFIXES,
    VideoSource,
    camera,
    is_video,
    video_source,
)
from motivnet_engines.writers.annotated_images import annotated_copies
from motivnet_engines.writers.short_names import short_names

Source: TypeAlias = Path | VideoSource
"""An image, or anything with frames."""


def sources_from_arguments(
    arguments: Iterable[str], *, camera_number: int | None = None
) -> tuple[Source, ...]:
    """The images and videos behind the arguments, in their order, and the camera after them.

    Raises:
        ConfigError: If there is nothing, or an address is none that can be read.
        FileError: If a folder holds neither images nor videos, or nothing fits a pattern.
    """
    found: list[Source] = []
    for argument in arguments:
        if not argument:
            raise ConfigError(
                "the name of an image is empty; give a file, or . for the current folder"
            )
        if "://" in argument:
            found.append(video_source(argument))
        else:
            found += [
                video_source(path) if is_video(path) else path for path in _files(Path(argument))
            ]
    if camera_number is not None:
        found.append(camera(camera_number))
    if not found:
        raise ConfigError(
            "there is nothing to predict; give images, folders or videos, or --camera 0"
        )
    return tuple(found)


def name_of(source: Source) -> str:
    """What records and errors call it."""
    return str(source) if isinstance(source, Path) else source.name


def path_of(source: Source) -> Path | None:
    """The file that is read; None for a camera and a stream."""
    if isinstance(source, Path):
        return source
    return Path(source.target) if source.kind == "file" else None


def montage_names(sources: Sequence[Source]) -> dict[Source, str]:
    """What a sheet of faces calls each source: as much of its path as tells it from the others."""
    files = {source: path for source in sources if (path := path_of(source)) is not None}
    names = short_names(files.values())
    return {
        source: names[files[source]] if source in files else name_of(source) for source in sources
    }


def annotated_targets(sources: Sequence[Source], annotate: Path | None) -> dict[Source, Path]:
    """Where the annotated copy of each source goes; ``annotate`` is a folder, or the file for a
    single video.

    Raises:
        ConfigError: If a file is given for other than one video, or is not of a kind that can be
        written.
        MissingDependencyError: For a video without PyAV.
    """
    if annotate is None:
        return {}
    suffix = annotate.suffix.lower()
    if annotate.is_dir() or suffix not in VIDEO_SUFFIXES:
        if suffix in IMAGE_SUFFIXES and not annotate.exists():
            raise ConfigError(f"--annotate {annotate} is the name of an image; give a folder")
        return _targets_in_folder(sources, annotate)
    if len(sources) != 1 or isinstance(sources[0], Path):
        raise ConfigError(
            f"--annotate {annotate} is for one video; give a folder for images and for several videos"
        )
    from motivnet_engines.writers.annotated_video import check_suffix

    check_suffix(annotate)
    return {sources[0]: annotate}


def _files(path: Path) -> tuple[Path, ...]:
    return expanded_paths([path], suffixes=IMAGE_SUFFIXES | VIDEO_SUFFIXES, kind="image or video")


def _targets_in_folder(sources: Sequence[Source], folder: Path) -> dict[Source, Path]:
    files = {source: path for source in sources if (path := path_of(source)) is not None}
    copies = annotated_copies(list(files.values()), folder)
    targets = {source: copies[path] for source, path in files.items()}
    streams = [source for source in sources if source not in files]
    return targets | {
        source: folder / f"stream-{number}.mp4" for number, source in enumerate(streams, 1)
    }

"""What ``motivnet predict`` reads and writes: its sources, its output files, and what is refused.

Decided before the model is opened: hours of work must not end at a file that cannot be written.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from motivnet.errors import ConfigError, FileError
from motivnet.images import IMAGE_SUFFIXES
from motivnet.workspace import workspace
from motivnet_engines.cli.options import check_apart
from motivnet_engines.inference.image_files import expand_paths
from motivnet_engines.video.source import (
    VIDEO_SUFFIXES,
    VideoSource,
    camera,
    is_video,
    video_source,
)
from motivnet_engines.writers.drawing import WRITTEN_SUFFIXES, annotated_copies
from motivnet_engines.writers.montage import sheet_paths

Source: TypeAlias = Path | VideoSource
"""An image, or anything with frames."""


def find_sources(
    arguments: Iterable[str], *, camera_number: int | None = None
) -> tuple[Source, ...]:
    """Return the images and videos behind the arguments in order, and the camera after them.

    Raises:
        ConfigError: If there is nothing, or an address cannot be read.
        FileError: If a folder holds neither images nor videos, or a pattern matches nothing.
    """
    sources: list[Source] = []
    suffixes = IMAGE_SUFFIXES | VIDEO_SUFFIXES
    for argument in arguments:
        if not argument:
            raise ConfigError(
                "the name of an image is empty; give a file, or . for the current folder"
            )
        if "://" in argument:
            sources.append(video_source(argument))
            continue
        paths = expand_paths([Path(argument)], suffixes=suffixes, kind="image or video")
        sources += [video_source(path) if is_video(path) else path for path in paths]
    if camera_number is not None:
        sources.append(camera(camera_number))
    if not sources:
        raise ConfigError(
            "there is nothing to predict; give images, folders or videos, or --camera 0"
        )
    return tuple(sources)


def name_of(source: Source) -> str:
    """Return the name of a source in records and errors."""
    return str(source) if isinstance(source, Path) else source.name


def path_of(source: Source) -> Path | None:
    """Return the file that is read; None for a camera and a stream."""
    if isinstance(source, Path):
        return source
    return Path(source.target) if source.kind == "file" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """The pictures that a run makes.

    Args:
        copies: The annotated copy of each source.
        montage: A sheet of all faces; for a video, each face at its best.
        timeline: A plot of the emotions of the one video.
    """

    copies: Mapping[Source, Path] = field(default_factory=dict)
    montage: Path | None = None
    timeline: Path | None = None


def choose_pictures(
    sources: Sequence[Source],
    *,
    annotate: Path | None,
    montage: Path | None,
    timeline: Path | None,
) -> Pictures:
    """Return the pictures that the options ask for.

    Args:
        annotate: A folder for the copies, or the file for the copy of a single video.

    Raises:
        ConfigError: If a file is not named as what it will be, two copies have the same name, a
            timeline is asked for without exactly one video, or the file of one video without
            exactly that.
        MissingDependencyError: For the copy of a video without PyAV.
    """
    pictures = (("--montage", montage, WRITTEN_SUFFIXES), ("--timeline", timeline, {".png"}))
    for option, path, suffixes in pictures:
        if path is not None and path.suffix.lower() not in suffixes:
            raise ConfigError(
                f"{option} {path} is to be a picture; "
                f"its name must end with {' or '.join(sorted(suffixes))}"
            )
    videos = sum(isinstance(source, VideoSource) for source in sources)
    if timeline is not None and videos != 1:
        raise ConfigError(
            f"--timeline shows one video, and there are {videos}; give one, or leave --timeline out"
        )
    copies = {} if annotate is None else _copies(sources, annotate)
    return Pictures(copies=copies, montage=montage, timeline=timeline)


def _copies(sources: Sequence[Source], annotate: Path) -> dict[Source, Path]:
    if annotate.suffix.lower() in VIDEO_SUFFIXES and not annotate.is_dir():
        return {_only_video(sources, annotate): annotate}
    if annotate.exists() and not annotate.is_dir():
        raise FileError(f"--annotate {annotate} is a file; give a folder")
    if annotate.suffix.lower() in IMAGE_SUFFIXES and not annotate.exists():
        raise ConfigError(f"--annotate {annotate} is the name of an image; give a folder")
    files = {source: path for source in sources if (path := path_of(source)) is not None}
    paths = annotated_copies(list(files.values()), annotate)
    streams = [source for source in sources if source not in files]
    copies = {source: paths[path] for source, path in files.items()}
    copies |= {
        stream: annotate / f"stream-{number}.mp4" for number, stream in enumerate(streams, 1)
    }
    _check_copies(copies)
    return copies


def _check_copies(copies: Mapping[Source, Path]) -> None:
    """Refuse one copy of several files; a file that was given twice has one."""
    owners: dict[Path, str] = {}
    for source, copy in copies.items():
        owner = owners.setdefault(copy, name_of(source))
        if os.path.abspath(owner) != os.path.abspath(name_of(source)):  # noqa: PTH100 - keeps links
            raise ConfigError(
                f"--annotate would write the copies of {owner} and {name_of(source)} to {copy}; "
                "rename one of them"
            )


def _only_video(sources: Sequence[Source], annotate: Path) -> VideoSource:
    if len(sources) != 1 or isinstance(sources[0], Path):
        raise ConfigError(
            f"--annotate {annotate} is for one video; "
            "give a folder for images and for several videos"
        )
    from motivnet_engines.writers.annotated_video import check_suffix

    check_suffix(annotate)
    return sources[0]


def check_outputs(
    results: Path | None,
    pictures: Pictures,
    annotate: Path | None,
    *,
    inputs: Iterable[Path | None],
) -> None:
    """Refuse outputs that would replace an input, each other, or files that nobody named.

    A file that ``--out``, ``--montage``, ``--timeline`` or a single video's ``--annotate`` names is
    replaced. Nothing is replaced in the folder of ``--annotate`` and by further sheets of a
    montage, whose names are not chosen one by one.

    Args:
        inputs: All files that are read.

    Raises:
        ConfigError: If an output is an input or in the way of another output.
        FileError: If an output would replace something else, or its folder cannot be written.
    """
    outputs = list(_outputs(results, pictures, annotate))
    read = {key: path for path in inputs if path is not None for key in _identities(path)}
    for option, path, _ in outputs:
        for key in filter(read.__contains__, _identities(path)):
            raise ConfigError(
                f"{option} would replace {read[key]}, which is read; choose another name"
            )
    check_apart((option, path) for option, path, _ in outputs)
    tried: dict[Path, tuple[str, Path]] = {}
    for option, path, advice in outputs:
        _check_place(option, path, advice)
        folder = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
        tried.setdefault(folder, (option, path))
    for folder, (option, path) in tried.items():
        _try_folder(folder, option, path)


def _outputs(
    results: Path | None, pictures: Pictures, annotate: Path | None
) -> Iterator[tuple[str, Path, str]]:
    """Yield option, path, and what to do if the file exists; "" if it is replaced."""
    named = {"--out": results, "--timeline": pictures.timeline, "--montage": pictures.montage}
    for option, path in named.items():
        if path is not None:
            yield option, path, ""
    if pictures.montage is not None:
        for path in sheet_paths(pictures.montage)[1:]:
            yield "--montage", path, "remove it (many faces take several sheets)"
    for path in dict.fromkeys(pictures.copies.values()):
        yield "--annotate", path, "" if path == annotate else "choose an empty folder"


def _identities(path: Path) -> tuple[object, ...]:
    """Return what two paths of one file have in common: the name without links, and the inode."""
    name = os.path.realpath(path)
    try:
        status = path.stat()
    except OSError:
        return (name,)
    return name, (status.st_dev, status.st_ino)


def _check_place(option: str, path: Path, advice: str) -> None:
    """Refuse a path where no file can be, or with advice on it, an existing file."""
    if not os.path.lexists(path):
        return
    if advice:
        raise FileError(f"{option} would replace {path}; {advice}")
    if path.is_dir():
        raise FileError(f"{option} {path} is a directory; give the name of a file")
    if path.exists() and not path.is_file():
        raise FileError(f"{option} {path} is not a regular file; give another name")


def _try_folder(folder: Path, option: str, path: Path) -> None:
    """Make a temporary folder as the writer will.

    Permissions alone do not tell whether a read-only, virtual or full file system can be written.
    """
    try:
        with workspace(folder / path.name):
            pass
    except OSError as error:
        reason = f"{folder}: {error.strerror or error}"
        raise FileError(
            f"{option} {path} cannot be written ({reason}); choose another place"
        ) from error

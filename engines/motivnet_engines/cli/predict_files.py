"""What ``motivnet predict`` reads and writes: its sources, its output files, and what is refused.

All of it is decided before the model is opened. No file that is read is ever written over, and
every output folder is tried, so that hours of work do not end at a file that cannot be written.
"""

from __future__ import annotations

import contextlib
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
from motivnet_engines.writers.drawing import annotated_copies
from motivnet_engines.writers.montage import sheet_paths

Source: TypeAlias = Path | VideoSource
"""An image, or anything with frames."""

_PICTURE_SUFFIXES = {"--montage": IMAGE_SUFFIXES, "--timeline": frozenset({".png"})}


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
class Outputs:
    """The files of a run.

    Args:
        results: The file for the records.
        copies: The annotated copy of each source.
        in_folder: Whether a folder for the copies was given, instead of the one copy.
        montage: A sheet of all faces; for a video, each face at its best.
        timeline: A plot of the emotions of the one video.
    """

    results: Path | None = None
    copies: Mapping[Source, Path] = field(default_factory=dict)
    in_folder: bool = False
    montage: Path | None = None
    timeline: Path | None = None


def choose_outputs(
    sources: Sequence[Source],
    *,
    results: Path | None,
    annotate: Path | None,
    montage: Path | None,
    timeline: Path | None,
) -> Outputs:
    """Return the output files that the options ask for.

    Args:
        annotate: A folder for the copies, or the file for the copy of a single video.

    Raises:
        ConfigError: If a file is not named as what it will be, two copies have the same name, a
            timeline is asked for without exactly one video, or the file of one video without
            exactly that.
        MissingDependencyError: For the copy of a video without PyAV.
    """
    for option, path in (("--montage", montage), ("--timeline", timeline)):
        suffixes = sorted(_PICTURE_SUFFIXES[option])
        if path is not None and path.suffix.lower() not in suffixes:
            raise ConfigError(
                f"{option} {path} is to be a picture; "
                f"its name must end with {' or '.join(suffixes)}"
            )
    videos = sum(isinstance(source, VideoSource) for source in sources)
    if timeline is not None and videos != 1:
        raise ConfigError(
            f"--timeline shows one video, and there are {videos}; give one, or leave --timeline out"
        )
    copies: Mapping[Source, Path] = {}
    in_folder = False
    if annotate is not None:
        in_folder = annotate.is_dir() or annotate.suffix.lower() not in VIDEO_SUFFIXES
        copies = _copies(sources, annotate) if in_folder else {_only(sources, annotate): annotate}
    return Outputs(
        results=results, copies=copies, in_folder=in_folder, montage=montage, timeline=timeline
    )


def _copies(sources: Sequence[Source], folder: Path) -> dict[Source, Path]:
    if folder.exists() and not folder.is_dir():
        raise FileError(f"--annotate {folder} is a file; give a folder")
    if folder.suffix.lower() in IMAGE_SUFFIXES and not folder.exists():
        raise ConfigError(f"--annotate {folder} is the name of an image; give a folder")
    files = {source: path for source in sources if (path := path_of(source)) is not None}
    paths = annotated_copies(list(files.values()), folder)
    copies = {source: paths[path] for source, path in files.items()}
    streams = [source for source in sources if source not in files]
    for number, source in enumerate(streams, 1):
        copies[source] = folder / f"stream-{number}.mp4"
    owners: dict[Path, str] = {}
    for source, copy in copies.items():
        owner = owners.setdefault(copy, name_of(source))
        if os.path.abspath(owner) != os.path.abspath(name_of(source)):  # noqa: PTH100 - keeps links
            raise ConfigError(
                f"--annotate would write the copies of {owner} and {name_of(source)} to {copy}; "
                "rename one of them"
            )
    return copies


def _only(sources: Sequence[Source], annotate: Path) -> VideoSource:
    if len(sources) != 1 or isinstance(sources[0], Path):
        raise ConfigError(
            f"--annotate {annotate} is for one video; "
            "give a folder for images and for several videos"
        )
    from motivnet_engines.writers.annotated_video import check_suffix

    check_suffix(annotate)
    return sources[0]


def check_outputs(outputs: Outputs, *, inputs: Iterable[Path | None]) -> None:
    """Refuse outputs that would replace an input or files that nobody named.

    A file that ``--out``, ``--montage``, ``--timeline`` or a single video's ``--annotate`` names is
    replaced. Nothing is replaced in the folder of ``--annotate`` and by further sheets of a
    montage, whose names are not chosen one by one.

    Args:
        inputs: All files that are read.

    Raises:
        ConfigError: If an output is an input or in the way of another output.
        FileError: If an output would replace something else, or its folder cannot be written.
    """
    files = list(_files(outputs))
    read = {key: path for path in inputs if path is not None for key in _identities(path)}
    for option, path, _ in files:
        for key in _identities(path):
            if key in read:
                raise ConfigError(
                    f"{option} would replace {read[key]}, which is read; choose another name"
                )
    check_apart((option, path) for option, path, _ in files)
    for option, path, advice in files:
        _check_place(option, path, advice)
    tried: set[Path] = set()
    for option, path, _ in files:
        folder = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
        if folder not in tried:
            tried.add(folder)
            _try_folder(folder, option, path)


def _files(outputs: Outputs) -> Iterator[tuple[str, Path, str | None]]:
    """Yield option, path, and what to do if the file exists; None if it is replaced."""
    named = {"--out": outputs.results, "--timeline": outputs.timeline}
    for option, path in named.items():
        if path is not None:
            yield option, path, None
    if outputs.montage is not None:
        first, *further = sheet_paths(outputs.montage)
        yield "--montage", first, None
        for path in further:
            yield "--montage", path, "remove it (many faces take several sheets)"
    for path in dict.fromkeys(outputs.copies.values()):
        yield "--annotate", path, "choose an empty folder" if outputs.in_folder else None


def _identities(path: Path) -> Iterator[object]:
    """Yield what two paths of one file have in common: the name without links, and the inode."""
    yield os.path.realpath(path)
    with contextlib.suppress(OSError):
        status = path.stat()
        yield status.st_dev, status.st_ino


def _check_place(option: str, path: Path, advice: str | None) -> None:
    if not os.path.lexists(path):
        return
    if advice is not None:
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

"""What ``motivnet predict`` refuses before any work is done: options that mean nothing, outputs
that cannot be.

Nothing that is read is ever written over, no two outputs are one file, and every folder is tried
out, so that hours of work do not end at a file that cannot be written.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from motivnet.errors import ConfigError, FileError
from motivnet.images import IMAGE_SUFFIXES
from motivnet.workspace import workspace
from motivnet_engines.cli.predict_report import RunOptions
from motivnet_engines.cli.predict_sources import Source, path_of
from motivnet_engines.video.source import VideoSource
from motivnet_engines.writers.montage import sheet_paths
from motivnet_engines.writers.sink import Format

_MORE_SHEETS = "remove it (many faces take several sheets), or choose another name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A file that is to be written, and the option that asks for it.

    Args:
        instead: What to do where there is such a file already; None if it is replaced.
    """

    option: str
    path: Path
    instead: str | None = None


def check_formats(
    form: Format, *, embeddings: bool, montage: Path | None, timeline: Path | None
) -> None:
    """Refuses pictures that are not named as such, and embeddings where they have no place.

    Raises:
        ConfigError: If there is one.
    """
    for option, path, suffixes in (
        ("--montage", montage, IMAGE_SUFFIXES),
        ("--timeline", timeline, {".png"}),
    ):
        if path is not None and path.suffix.lower() not in suffixes:
            raise ConfigError(
                f"{option} {path} is to be a picture; its name must end with {_choice(suffixes)}"
            )
    if embeddings and form != "jsonl":
        raise ConfigError(f"--embeddings has no place in a {form}; choose --format jsonl")


def check_video_options(
    sources: Sequence[Source],
    *,
    timeline: Path | None,
    every: int | None,
    realtime: bool,
    smooth: float | None,
) -> None:
    """Refuses options of videos that were given where there is none.

    Raises:
        ConfigError: If there is one, or a timeline is asked for without exactly one video.
    """
    videos = _videos(sources)
    if timeline is not None and videos != 1:
        raise ConfigError(
            f"--timeline shows one video, and there are {videos}; give one, or leave --timeline out"
        )
    given = {"--every": every is not None, "--realtime": realtime, "--smooth": smooth is not None}
    for option in (name for name, is_given in given.items() if is_given and not videos):
        raise ConfigError(f"{option} is for videos, and there is none; leave it out")


def check_outputs(
    sources: Sequence[Source],
    options: RunOptions,
    *,
    annotate: Path | None,
    out: Path | None,
    inputs: Iterable[Path | None] = (),
) -> None:
    """Refuses outputs that would replace what is read, each other or someone's files, or that
    cannot be written.

    A file that ``--out``, ``--montage``, ``--timeline`` or a single video's ``--annotate`` names is
    replaced; in a folder and among a montage's further sheets, where the names are not chosen one
    by one, nothing is.

    Args:
        inputs: Other files that are read.

    Raises:
        ConfigError: If an output is an input or another output.
        FileError: If an output is in the way of something, or its folder cannot be written.
    """
    in_folder = annotate is not None and annotate not in options.targets.values()
    outputs = list(_outputs(options, out, in_folder=in_folder))
    if not outputs:
        return
    if annotate is not None and in_folder and annotate.exists() and not annotate.is_dir():
        raise FileError(f"--annotate {annotate} is a file; give a folder")
    _check_sources_are_kept(
        outputs, [path for path in (*map(path_of, sources), *inputs) if path is not None]
    )
    _check_names_differ(outputs)
    for output in outputs:
        _check_place(output)
    tried: set[Path] = set()
    for output in outputs:
        _check_folder(output, tried)


def load_packages(sources: Sequence[Source], options: RunOptions) -> None:
    """Imports what only some runs need.

    Raises:
        MissingDependencyError: For a video without PyAV, and a timeline without matplotlib.
    """
    if _videos(sources):
        importlib.import_module("motivnet_engines.cli.predict_video_run")
    if options.timeline is not None:
        importlib.import_module("motivnet_engines.writers.timeline")


def _videos(sources: Sequence[Source]) -> int:
    return sum(isinstance(source, VideoSource) for source in sources)


def _choice(suffixes: Iterable[str]) -> str:
    *others, last = sorted(suffixes)
    return f"{', '.join(others)} or {last}" if others else last


def _outputs(options: RunOptions, out: Path | None, *, in_folder: bool) -> Iterator[Output]:
    if out is not None:
        yield Output(option="--out", path=out)
    for number, path in enumerate([] if options.montage is None else sheet_paths(options.montage)):
        yield Output(option="--montage", path=path, instead=_MORE_SHEETS if number else None)
    if options.timeline is not None:
        yield Output(option="--timeline", path=options.timeline)
    for path in options.targets.values():
        yield Output(
            option="--annotate", path=path, instead="choose an empty folder" if in_folder else None
        )


def _check_place(output: Output) -> None:
    if not os.path.lexists(output.path):
        return
    if output.instead is not None:
        raise FileError(f"{output.option} would replace {output.path}; {output.instead}")
    if output.path.is_dir():
        raise FileError(f"{output.option} {output.path} is a directory; give the name of a file")
    if output.path.exists() and not output.path.is_file():
        raise FileError(f"{output.option} {output.path} is not a regular file; give another name")


def _check_sources_are_kept(outputs: Iterable[Output], inputs: Iterable[Path]) -> None:
    kept = {key: path for path in inputs for key in _identities(path)}
    for output in outputs:
        for key in _identities(output.path):
            if key in kept:
                raise ConfigError(
                    f"{output.option} would replace {kept[key]}, which is read; choose another name"
                )


def _check_names_differ(outputs: Sequence[Output]) -> None:
    taken: dict[object, Output] = {}
    for output in outputs:
        for key in _identities(output.path):
            if (other := taken.setdefault(key, output)) is not output:
                raise ConfigError(
                    f"{other.option} and {output.option} would both write {output.path}; choose two names"
                )
    for output in outputs:
        for parent in Path(os.path.realpath(output.path)).parents:
            if str(parent) in taken:
                other = taken[str(parent)]
                raise ConfigError(
                    f"{output.option} needs a folder where {other.option} writes {other.path}"
                )


def _identities(path: Path) -> Iterator[object]:
    """What two paths of one file have in common: the name without links, or the file on the disk."""
    yield os.path.realpath(path)
    try:
        status = path.stat()
    except OSError:
        return
    yield status.st_dev, status.st_ino


def _check_folder(output: Output, tried: set[Path]) -> None:
    """Makes a temporary folder as the writer will, in the folder of the output or in the one where
    that will be made.

    Permissions alone do not tell: of a read-only or virtual file system, or of a full one.
    """
    folder = next(parent for parent in output.path.absolute().parents if os.path.lexists(parent))
    if folder in tried:
        return
    tried.add(folder)
    try:
        with workspace(folder / output.path.name):
            pass
    except OSError as error:
        reason = f"{folder}: {error.strerror or error}"
        raise FileError(
            f"{output.option} {output.path} cannot be written ({reason}); choose another place"
        ) from error

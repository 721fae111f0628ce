"""What ``motivnet predict`` writes: its output files, and what is refused.

Decided before the model is opened: hours of work must not end at a file that cannot be written.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path

from motivnet.errors import ConfigError, FileError
from motivnet.images import IMAGE_SUFFIXES
from motivnet.path_kind import kind_of
from motivnet.workspace import workspace
from motivnet_engines.cli.options import check_apart
from motivnet_engines.cli.predict_sources import Source, name_of, path_of
from motivnet_engines.inference.downloads import FetchedImage
from motivnet_engines.video.source import VIDEO_SUFFIXES, VideoSource
from motivnet_engines.writers.drawing import WRITTEN_SUFFIXES, annotated_copies
from motivnet_engines.writers.montage import sheet_paths


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
    kind = kind_of(annotate, output="--annotate")
    if annotate.suffix.lower() in VIDEO_SUFFIXES and kind != "folder":
        return {_only_video(sources, annotate): annotate}
    if kind not in (None, "folder"):
        raise FileError(f"--annotate {annotate} is a file; give a folder")
    if annotate.suffix.lower() in IMAGE_SUFFIXES and kind is None:
        raise ConfigError(f"--annotate {annotate} is the name of an image; give a folder")
    files = {source: path for source in sources if (path := path_of(source)) is not None}
    paths = annotated_copies(list(files.values()), annotate)
    streams = [s for s in sources if s not in files and isinstance(s, VideoSource)]
    copies = {source: paths[path] for source, path in files.items()}
    copies |= {
        stream: annotate / f"stream-{number}.mp4" for number, stream in enumerate(streams, 1)
    }
    _check_copies(copies)
    for image in (source for source in sources if isinstance(source, FetchedImage)):
        copies[image] = _free_name(image, annotate, taken=copies.values())
    return copies


def _free_name(image: FetchedImage, folder: Path, *, taken: Collection[Path]) -> Path:
    """Return a path for the copy of what was fetched; addresses may end in the same name."""
    name = Path(image.file.name)
    copy = annotated_copies([name], folder)[name]
    numbered = (copy.with_name(f"{copy.stem}-{number}{copy.suffix}") for number in count(2))
    return next(path for path in (copy, *islice(numbered, len(taken))) if path not in taken)


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
    if len(sources) != 1 or not isinstance(sources[0], VideoSource):
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
    kind = kind_of(path, output=option)
    if kind == "folder":
        raise FileError(f"{option} {path} is a directory; give the name of a file")
    if kind == "other":
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

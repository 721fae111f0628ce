"""What ``motivnet predict`` reads: files, folders, patterns, addresses, standard input, cameras.

Found before the model is opened, so that a wrong name costs no time.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from motivnet.errors import ConfigError, FileError
from motivnet.files import write_errors
from motivnet.image_formats import names_of_formats, video_name
from motivnet.images import IMAGE_SUFFIXES, USER_LIMITS, ImageLimits
from motivnet.path_kind import kind_of
from motivnet_engines.inference.downloads import (
    Download,
    FetchedImage,
    download,
    in_background,
    picture_at,
    picture_of,
    result_of,
)
from motivnet_engines.inference.file_search import FileKind, FoundFiles, find_files, place_of
from motivnet_engines.inference.web_address import Address, address_from_text
from motivnet_engines.video.source import (
    VIDEO_SUFFIXES,
    VideoSource,
    camera,
    is_video,
    video_source,
)

STANDARD_INPUT = "-"

Source: TypeAlias = Path | FetchedImage | VideoSource
"""An image, or anything with frames."""

_WEB = ("http://", "https://")
_STREAM_SUFFIXES = VIDEO_SUFFIXES | {".m3u8", ".mjpeg", ".mjpg", ".mpd", ".sdp"}
_MEDIA = FileKind(
    name="image or video",
    formats=f"{names_of_formats(common=False)}; MP4, MOV, MKV, WebM, AVI, MPEG, WMV and others",
    suffixes=IMAGE_SUFFIXES | VIDEO_SUFFIXES,
)
_AT_ONCE = 8
_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Everything to read in order, what was left out, and what cannot be read; one line each."""

    sources: tuple[Source, ...]
    remarks: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that are read."""
        return tuple(path for source in self.sources if (path := path_of(source)) is not None)

    @property
    def has_only_videos(self) -> bool:
        """Whether there is nothing without frames."""
        return all(isinstance(source, VideoSource) for source in self.sources)


def find_sources(
    arguments: Sequence[str],
    *,
    camera_number: int | None = None,
    stack: contextlib.ExitStack,
    limits: ImageLimits = USER_LIMITS,
) -> Sources:
    """Return the images and videos behind the arguments in order, and the camera after them.

    Each is read once. What an address gives is looked at if its name does not tell.

    Args:
        stack: At whose end the files of what is fetched are removed.
        limits: Of what is fetched.

    Raises:
        ConfigError: If there is nothing, no such camera, or an address cannot be read.
        FileError: If a folder holds neither images nor videos, a pattern matches nothing, or there
            is none of the files.
    """
    if "" in arguments:
        raise ConfigError("the name of an image is empty; give a file, or . for the current folder")
    live = () if camera_number is None else (_connected_camera(camera_number),)
    searched = [
        FoundFiles() if _is_fetched(argument) else find_files(Path(argument), kind=_MEDIA)
        for argument in arguments
    ]
    fetched = _fetched_sources(list(filter(_is_fetched, arguments)), stack, limits)
    sources: list[Source] = []
    for argument, found in zip(arguments, searched, strict=True):
        sources += [fetched[argument]] if argument in fetched else map(_source_of_file, found.files)
    unique: dict[object, Source] = {}
    for source in sources:
        unique.setdefault(_identity(source), source)
    repeated = len(sources) - len(unique)
    unique |= {source: source for source in live}
    errors = [line for found in searched for line in found.unreadable]
    _check_any(tuple(unique.values()), errors)
    remarks = [line for found in searched for line in found.left_out]
    if repeated:
        remarks.append(f"{repeated:,} given more than once: each file is read once")
    return Sources(sources=tuple(unique.values()), remarks=tuple(remarks), errors=tuple(errors))


def _connected_camera(number: int) -> VideoSource:
    """Return a camera; that there is none is seen before anything else is read."""
    found = camera(number)
    if Path(found.target).is_absolute() and kind_of(Path(found.target)) is None:
        raise ConfigError(f"there is no {found.name} ({found.target}); connect it, or name another")
    return found


def name_of(source: Source) -> str:
    """Return the name of a source in records and errors."""
    return str(source) if isinstance(source, Path) else source.name


def path_of(source: Source) -> Path | None:
    """Return the file that is read; None for a camera, a stream and what is fetched."""
    if isinstance(source, VideoSource):
        return Path(source.target) if source.kind == "file" else None
    return source if isinstance(source, Path) else None


def _check_any(sources: Sequence[Source], errors: Sequence[str]) -> None:
    """Refuse a run over nothing, before the model is opened."""
    if not sources and not errors:
        raise ConfigError(
            "there is nothing to predict; give images, folders or videos, or --camera 0"
        )
    problems = list(errors)
    for source in sources:
        path = path_of(source)
        problem = None if path is None else _problem_with(path)
        if problem is None:
            return
        problems.append(problem)
    more = f"; and {len(problems) - _SHOWN:,} more" if len(problems) > _SHOWN else ""
    raise FileError("; ".join(problems[:_SHOWN]) + more)


def _problem_with(path: Path) -> str | None:
    """Return why a file cannot be opened, if that is seen without opening it."""
    try:
        is_missing = kind_of(path) is None and not path.is_symlink()
    except FileError as error:
        return str(error)
    return f"{path} does not exist; check its name" if is_missing else None


def _identity(source: Source) -> object:
    path = path_of(source)
    return source if path is None else place_of(path)


def _source_of_file(path: Path) -> Source:
    return video_source(path) if is_video(path) else path


def _is_fetched(argument: str) -> bool:
    return argument == STANDARD_INPUT or "://" in argument


def _fetched_sources(
    arguments: Sequence[str], stack: contextlib.ExitStack, limits: ImageLimits
) -> dict[str, Source]:
    """Return the sources of ``-`` and of addresses; those whose name does not tell are opened."""
    if not arguments:
        return {}
    try:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="motivnet-")))
    except OSError as error:
        raise FileError(f"there is no place for downloads: {error}") from error
    places = {name: folder / str(number) for number, name in enumerate(dict.fromkeys(arguments))}
    found = {
        argument: _source_by_name(argument, place, limits) for argument, place in places.items()
    }
    sources = {name: source for name, source in found.items() if not isinstance(source, Address)}
    unknown = [(name, source) for name, source in found.items() if isinstance(source, Address)]
    for start in range(0, len(unknown), _AT_ONCE):
        group = unknown[start : start + _AT_ONCE]
        opened = [
            in_background(partial(download, address, max_bytes=limits.max_bytes))
            for _, address in group
        ]
        for (argument, address), download_ in zip(group, opened, strict=True):
            sources[argument] = _source_by_content(argument, address, download_, places[argument])
    return sources


def _source_by_name(argument: str, place: Path, limits: ImageLimits) -> Source | Address:
    """Return a source, or an address whose name tells neither a picture nor a video."""
    if argument == STANDARD_INPUT:
        fetch = partial(_bytes_or_raise, _read_standard_input(limits))
        return _picture("standard input", place / "stdin", fetch)
    if not argument.casefold().startswith(_WEB):
        return video_source(argument)
    address = address_from_text(argument)
    suffix = Path(address.file_name).suffix.casefold()
    if suffix in _STREAM_SUFFIXES:
        return video_source(argument)
    if suffix in IMAGE_SUFFIXES:
        fetch = partial(picture_at, address, max_bytes=limits.max_bytes)
        return _picture(address.name, place / address.file_name, fetch)
    return address


def _source_by_content(
    argument: str, address: Address, opened: Future[Download], place: Path
) -> Source:
    file = place / address.file_name
    try:
        found = result_of(opened, name=address.name)
        data = picture_of(address, found)
    except FileError as error:
        return _picture(address.name, file, partial(_bytes_or_raise, error))
    if found.is_stream:
        return video_source(argument)
    picture = _picture(address.name, file, file.read_bytes)
    with write_errors(file):
        file.write_bytes(data)
    return picture


def _picture(name: str, file: Path, fetch: Callable[[], bytes]) -> FetchedImage:
    with write_errors(file):
        file.parent.mkdir()
    return FetchedImage(name=name, file=file, fetch=fetch)


def _read_standard_input(limits: ImageLimits) -> bytes | FileError:
    """Return the bytes of standard input, or why they are no picture.

    Raises:
        ConfigError: If it is a terminal.
    """
    if sys.stdin.isatty():
        raise ConfigError(
            "- stands for a picture from standard input, which has none; "
            "give it with: motivnet predict - < FILE"
        )
    try:
        data = sys.stdin.buffer.read(limits.max_bytes + 1)
    except OSError as error:
        return FileError(f"standard input cannot be read: {error.strerror or error}")
    if (video := video_name(data)) is not None:
        return FileError(f"standard input is {video}; give a video as a file")
    if len(data) > (limit := limits.max_bytes):
        return FileError(
            f"standard input has more than the {limit:,} bytes allowed; {limits.advice}"
        )
    return data


def _bytes_or_raise(found: bytes | FileError) -> bytes:
    if isinstance(found, FileError):
        raise found
    return found

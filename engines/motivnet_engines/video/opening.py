"""Containers opened under limits: known formats only, no other file or host than the one given, in bounded time."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from motivnet.errors import MissingDependencyError, VideoError
from motivnet.files import open_regular
from motivnet.images import MAX_PIXELS, MAX_SIDE
from motivnet.printable import one_line
from motivnet_engines.video.source import VideoSource

try:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream
except ImportError as error:
    raise MissingDependencyError("av", extra="video") from error

FAILURES: tuple[type[Exception], ...] = (av.FFmpegError, OSError, MemoryError)
"""What FFmpeg and the system raise when something cannot be opened, read or decoded."""

OPEN_SECONDS = 10.0
READ_SECONDS = 10.0
"""How long a stream may be silent."""

_FILE_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv"
_KNOWN = "an MP4, QuickTime, Matroska, WebM, AVI, MPEG or Flash video"

# A container may name other containers (a playlist, a list of files to concatenate, a reference in
# an MP4): what may be opened on the way is listed here, and for a file that is nothing, because it
# is read through a Python file.
_LIMITS: dict[str, dict[str, str]] = {
    "file": {"format_whitelist": _FILE_FORMATS, "protocol_whitelist": "file"},
    "http": {
        "format_whitelist": f"{_FILE_FORMATS},hls,mpjpeg",
        "protocol_whitelist": "http,https,httpproxy,tcp,tls,crypto",
    },
    "rtsp": {
        "format_whitelist": "rtsp,mpegts",
        "protocol_whitelist": "rtsp,rtp,srtp,tcp,tls,udp",
        "rtsp_transport": "tcp",
    },
}

_PLAIN: dict[type[Exception], str] = {
    av.error.ExitError: "it does not answer in time",
    av.error.InvalidDataError: "what it sends is not a video",
    av.error.ArgumentError: "what it sends is not a video of a known format",
    av.error.ProtocolNotFoundError: "this PyAV was built without its protocol",
}


@contextmanager
def open_container(source: VideoSource) -> Iterator[InputContainer]:
    """The open container behind a source, closed after the block.

    Raises:
        FileError: If a file is missing or not a regular file.
        VideoError: If it is not a video of a known format, or camera or stream do not answer.
    """
    with contextlib.ExitStack() as stack:
        if source.kind == "file":
            # A container does not close the file that it was given.
            file = stack.enter_context(open_regular(Path(source.target)))
            yield stack.enter_context(_open_file(file, source.name))
        else:
            yield stack.enter_context(
                _open_camera(source) if source.kind == "camera" else _open_stream(source)
            )


def is_live(container: InputContainer, source: VideoSource) -> bool:
    """Whether it goes on without an end and without waiting for its reader: a camera, or a stream
    that is being made.

    Over HTTP that is what says neither how long it lasts nor how many bytes it has, and a playlist
    without its end.
    """
    if source.pushed or source.kind == "file":
        return source.pushed
    endless = container.size <= 0 or container.format.name == "hls"
    return endless and container.duration is None


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """The stream of moving pictures, with its size checked and limited before anything is decoded.

    Raises:
        VideoError: If there is none, its codec is not known or its pictures are too large.
    """
    cover = av.stream.Disposition.attached_pic
    streams = [stream for stream in container.streams.video if not stream.disposition & cover]
    if not streams:
        raise VideoError(f"{name} holds no moving pictures, only {_kinds(container)}")
    stream = streams[0]
    # A codec that is not known leaves no context, whatever the stubs say.
    context: Any = stream.codec_context
    if context is None:
        raise VideoError(f"{name} cannot be decoded: its codec is not known; convert it to H.264")
    check_size(context.width, context.height, name=name)
    context.options = {**context.options, "max_pixels": str(MAX_PIXELS)}
    return stream


def check_size(width: int, height: int, *, name: str) -> None:
    """Refuses pictures beyond the limits of ``motivnet.images``.

    Raises:
        VideoError: If they are.
    """
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise VideoError(
            f"{name} ({width:,} x {height:,} pixels) exceeds {MAX_PIXELS // 10**6} million pixels or {MAX_SIDE:,} "
            "pixels a side; make it smaller"
        )


def reason(error: Exception) -> str:
    """What FFmpeg or the system says, in one line and without the address, which may hold a password."""
    plain = next((text for kind, text in _PLAIN.items() if isinstance(error, kind)), None)
    return plain or one_line(getattr(error, "strerror", None) or type(error).__name__)


def _open_file(file: BinaryIO, name: str) -> InputContainer:
    if not os.fstat(file.fileno()).st_size:
        raise VideoError(f"{name} is empty, not a video")
    try:
        return av.open(file, "r", options=_options("file"))
    except (av.error.InvalidDataError, av.error.ArgumentError) as error:
        if (
            isinstance(error, av.error.InvalidDataError)
            and os.pread(file.fileno(), 8, 0)[4:] == b"ftyp"
        ):
            raise VideoError(
                f"{name} cannot be read: its index is missing, so it is cut off; copy it again"
            ) from error
        raise VideoError(
            f"{name} is not {_KNOWN}, or is damaged at its beginning; convert it to MP4"
        ) from error
    except FAILURES as error:
        raise VideoError(f"{name} cannot be read: {reason(error)}") from error


def _open_camera(source: VideoSource) -> InputContainer:
    driver = "video4linux2" if source.target.startswith("/dev/") else "avfoundation"
    try:
        return av.open(source.target, "r", format=driver, timeout=(OPEN_SECONDS, READ_SECONDS))
    except FAILURES as error:
        if getattr(error, "errno", None) in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
            raise VideoError(
                f"there is no {source.name} ({source.target}); {_cameras(driver)}"
            ) from error
        raise VideoError(
            f"{source.name} ({source.target}) cannot be opened: {reason(error)}"
        ) from error


def _open_stream(source: VideoSource) -> InputContainer:
    options = _options("rtsp" if source.pushed else "http")
    try:
        return av.open(source.target, "r", options=options, timeout=(OPEN_SECONDS, READ_SECONDS))
    except FAILURES as error:
        raise VideoError(
            f"{source.name} cannot be opened: {reason(error)}; check the address"
        ) from error


def _options(limits: str) -> dict[str, str]:
    return {**_LIMITS[limits], "max_pixels": str(MAX_PIXELS)}


def _cameras(driver: str) -> str:
    try:
        found = [device.name for device in av.device.enumerate_input_devices(driver)]
    except FAILURES:
        found = []
    return f"there are {', '.join(found)}" if found else "none is connected"


def _kinds(container: InputContainer) -> str:
    return ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"

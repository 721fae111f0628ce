"""Open containers under limits: known formats only, no other file or host, in bounded time."""

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
from motivnet.image_formats import HEAD_BYTES, advice_on, format_name, image_format, video_name
from motivnet.images import MAX_PIXELS, MAX_SIDE
from motivnet.printable import one_line
from motivnet_engines.video.source import JPEG_STREAMS, VideoSource

try:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream
except ImportError as error:
    raise MissingDependencyError("av", extra="video") from error

FAILURES: tuple[type[Exception], ...] = (av.FFmpegError, OSError, MemoryError)
"""What FFmpeg and the system raise if something cannot be opened, read or decoded."""

OPEN_SECONDS = 10.0
READ_SECONDS = 10.0
"""How long a stream may be silent."""

_FILE_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv"

_MORE_FILE_FORMATS = "asf,ogg,mjpeg,mpegvideo"

# A container may refer to others (a playlist, a list of files to concatenate, a reference in an
# MP4). What it may open is listed here; for a file that is nothing, because FFmpeg reads a Python
# file object.
_LIMITS: dict[str, dict[str, str]] = {
    "file": {
        "format_whitelist": f"{_FILE_FORMATS},{_MORE_FILE_FORMATS}",
        "protocol_whitelist": "file",
    },
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
    """Open the container of a source, and close it after the block.

    Raises:
        FileError: If a file is missing or not a regular file.
        VideoError: If it is not a video of a known format, or camera or stream do not answer.
    """
    with contextlib.ExitStack() as stack:
        if source.kind == "file":
            # A container does not close a file object that it was given.
            file = stack.enter_context(open_regular(Path(source.target)))
            yield stack.enter_context(_open_file(file, source.name))
        else:
            yield stack.enter_context(
                _open_camera(source) if source.kind == "camera" else _open_stream(source)
            )


def is_live(container: InputContainer, source: VideoSource) -> bool:
    """Return whether it has no end and does not wait for its reader: a camera or a live stream.

    Over HTTP, a live stream is one with neither a duration nor a length, or an open playlist.
    """
    if source.pushed or source.kind == "file":
        return source.pushed
    endless = container.size <= 0 or container.format.name == "hls"
    return endless and container.duration is None


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """Return the video stream, with its size checked and limited before anything is decoded.

    Raises:
        VideoError: If there is none, its codec is unknown or its pictures are too large.
    """
    cover = av.stream.Disposition.attached_pic
    streams = [stream for stream in container.streams.video if not stream.disposition & cover]
    if not streams:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise VideoError(f"{name} holds no moving pictures, only {kinds}")
    stream = streams[0]
    # An unknown codec leaves no context, although the stubs exclude it.
    context: Any = stream.codec_context
    if context is None:
        raise VideoError(f"{name} cannot be decoded: its codec is not known; convert it to H.264")
    check_size(context.width, context.height, name=name)
    context.options = {**context.options, "max_pixels": str(MAX_PIXELS)}
    return stream


def check_size(width: int, height: int, *, name: str) -> None:
    """Check a picture's size.

    Raises:
        VideoError: If it exceeds the limits of ``motivnet.images``.
    """
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise VideoError(
            f"{name} ({width:,} x {height:,} pixels) exceeds {MAX_PIXELS // 10**6} million pixels "
            f"or {MAX_SIDE:,} pixels per side; make it smaller"
        )


def reason(error: Exception) -> str:
    """Return an error of FFmpeg or the system in one line, without the address and its password."""
    plain = next((text for kind, text in _PLAIN.items() if isinstance(error, kind)), None)
    return plain or one_line(getattr(error, "strerror", None) or type(error).__name__)


def _open_file(file: BinaryIO, name: str) -> InputContainer:
    head = os.pread(file.fileno(), HEAD_BYTES, 0)
    if not head:
        raise VideoError(f"{name} is empty, not a video")
    if image_format(head) is not None and Path(name).suffix.lower() not in JPEG_STREAMS:
        raise VideoError(f"{name} {_describe(head)}")
    try:
        return av.open(file, "r", options=_options("file"))
    except (av.error.InvalidDataError, av.error.ArgumentError) as error:
        is_mp4 = head[4:8] == b"ftyp"
        if is_mp4 and isinstance(error, av.error.InvalidDataError):
            raise VideoError(
                f"{name} cannot be read: its index is missing, so it is cut off; copy it again"
            ) from error
        advice = advice_on(format_name(head) or "", otherwise="convert it to MP4")
        raise VideoError(f"{name} {_describe(head)}; {advice}") from error
    except FAILURES as error:
        raise VideoError(f"{name} cannot be read: {reason(error)}") from error


def _describe(head: bytes) -> str:
    if (what := video_name(head)) is not None:
        return f"is {what} that is damaged at its start"
    if (what := format_name(head)) is not None:
        return f"is {what}, not a video"
    return (
        "is not an MP4, QuickTime, Matroska, WebM, AVI, MPEG, Flash, Windows Media or Ogg video, "
        "or is damaged at its start"
    )


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

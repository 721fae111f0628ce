"""Sources of video: a file, a camera or a stream."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from motivnet.errors import ConfigError, FileError
from motivnet.files import open_regular
from motivnet.image_formats import HEAD_BYTES, image_format, video_name

VIDEO_SUFFIXES = frozenset(
    {
        *(".3g2", ".3gp", ".asf", ".avi", ".f4v", ".flv", ".m2ts", ".m2v", ".m4v"),
        *(".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv"),
        *(".qt", ".ts", ".vob", ".webm", ".wmv"),
    }
)
"""Suffixes of videos that are searched in a folder, in lower case; the content decides."""

JPEG_STREAMS = frozenset((".mjpeg", ".mjpg"))
"""Suffixes of videos that begin as a JPEG image does."""

STREAM_SCHEMES = ("rtsp", "rtsps", "http", "https")

SourceKind = Literal["file", "camera", "stream"]

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+)://")
_MAX_CAMERA = 63
_CAMERAS: dict[str, str] = {"linux": "/dev/video{number}", "darwin": "{number}:none"}
"""PyAV's name of a camera, by ``sys.platform``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoSource:
    """A file, a camera or a stream of frames; made by ``video_source`` and ``camera``.

    Args:
        target: The path, the number of the camera or the address.
        name: What results and errors call it; without the password of an address.
    """

    kind: SourceKind
    target: str
    name: str

    @property
    def pushed(self) -> bool:
        """Whether frames arrive as soon as they exist: from a camera, or over RTSP."""
        return self.kind == "camera" or self.target.lower().startswith("rtsp")


def is_video(path_or_url: Path | str) -> bool:
    """Return whether this is a video file, or the address of a stream.

    The first bytes decide if they are those of an image or a video, and otherwise the suffix.
    """
    scheme = None if isinstance(path_or_url, Path) else _SCHEME.match(path_or_url)
    if scheme is not None:
        return scheme[1].lower() in STREAM_SCHEMES
    path = Path(path_or_url)
    suffix, head = path.suffix.lower(), _read_head(path)
    if image_format(head) is not None:
        return suffix in JPEG_STREAMS
    return suffix in VIDEO_SUFFIXES or video_name(head) is not None


def _read_head(path: Path) -> bytes:
    """Return the first bytes of a file; none of what cannot be read, which its reader tells."""
    try:
        with open_regular(path) as file:
            return file.read(HEAD_BYTES)
    except (FileError, OSError):
        return b""


def video_source(path_or_url: Path | str) -> VideoSource:
    """Return the source at a path, or at the address of a stream (a string with ``://``).

    Raises:
        ConfigError: If the address is not one of ``STREAM_SCHEMES`` or names no host.
    """
    scheme = None if isinstance(path_or_url, Path) else _SCHEME.match(path_or_url)
    if scheme is None:
        return VideoSource(kind="file", target=str(path_or_url), name=str(path_or_url))
    address = str(path_or_url)
    name = _without_password(address)
    if scheme[1].lower() not in STREAM_SCHEMES:
        raise ConfigError(
            f"no stream is read from {scheme[1]}://; give one of {', '.join(STREAM_SCHEMES)}"
        )
    if name is None:
        raise ConfigError(
            f"a stream's address has a host and a valid port: {scheme[1]}://HOST:PORT/PATH"
        )
    return VideoSource(kind="stream", target=address, name=name)


def camera(number: int) -> VideoSource:
    """Return the camera of this number, counted from 0.

    Raises:
        ConfigError: If the number is out of range, or PyAV reads no cameras on this platform.
    """
    if not 0 <= number <= _MAX_CAMERA:
        raise ConfigError(f"a camera has a number from 0 to {_MAX_CAMERA}, not {number}")
    if sys.platform not in _CAMERAS:
        raise ConfigError(f"cameras are not read on {sys.platform}; give a file or a stream")
    target = _CAMERAS[sys.platform].format(number=number)
    return VideoSource(kind="camera", target=target, name=f"camera {number}")


def _without_password(address: str) -> str | None:
    """Return the address without user, password and query (where cameras have tokens)."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host:
        return None
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{'' if port is None else f':{port}'}{parts.path}"

"""The face detector's model: fetched once into the user's cache, and verified before anything parses it."""

from __future__ import annotations

import hashlib
import http.client
import logging
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from motivnet.errors import FileError
from motivnet.files import read_bytes, write_atomic
from motivnet.printable import one_line
from motivnet_engines.user_cache import user_cache

logger = logging.getLogger(__name__)

_CHUNK = 1 << 16
_ADVICE = "give a copy with --detector FILE, or --no-detect for images that are one face each"


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A file of the web whose bytes are known.

    Args:
        schemes: What the address, and every address that it leads to, may begin with.
        timeout: Seconds without an answer.
        deadline: Seconds of the whole transfer.
    """

    name: str
    url: str
    size: int
    sha256: str
    schemes: tuple[str, ...] = ("https",)
    timeout: float = 15.0
    deadline: float = 120.0


YUNET = Download(
    name="face_detection_yunet_2023mar.onnx",
    # The plain address of the repository gives the 131 bytes of a Git LFS pointer.
    url=(
        "https://media.githubusercontent.com/media/opencv/opencv_zoo/f12e12798e8314f7c074a6656816c048dcc95b7a/"
        "models/face_detection_yunet/face_detection_yunet_2023mar.onnx"
    ),
    size=232_589,
    sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
)


def yunet_model(path: Path | None = None) -> bytes:
    """The verified bytes of YuNet 2023mar: of a file, or of the user's cache.

    Raises:
        FileError: If the file is missing or is another model, which native code would have to parse unseen, or the
            model is not in the cache and cannot be fetched.
    """
    if path is None:
        return cached(YUNET)
    data = read_bytes(path, max_bytes=max(YUNET.size, 1 << 24))
    if not _is_it(data, YUNET):
        raise FileError(f"{path} is not {YUNET.name} (SHA-256 {YUNET.sha256}); get it from {YUNET.url}")
    return data


def cached(download: Download) -> bytes:
    """The verified bytes of a download, fetched unless the user's cache has them whole.

    Raises:
        FileError: If they cannot be fetched.
    """
    path = user_cache() / download.name
    try:
        data = read_bytes(path, max_bytes=download.size, follow_links=False)
    except FileError:
        data = b""
    if not _is_it(data, download):
        data = fetched(download)
        _keep(path, data)
    return data


def fetched(download: Download) -> bytes:
    """The verified bytes of a download, from the web.

    Raises:
        FileError: If they cannot be had, in time and as they should be.
    """
    opener = urllib.request.build_opener(_Redirects(download.schemes))
    try:
        _check_scheme(download.url, download.schemes)
        with opener.open(download.url, timeout=download.timeout) as response:
            data = _bounded(response, download)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise FileError(
            f"the face detector could not be fetched from {download.url}: {_reason(error)}; {_ADVICE}"
        ) from error
    if not _is_it(data, download):
        raise FileError(
            f"{download.url} gives {len(data):,} bytes that are not the face detector "
            f"({download.size:,} bytes with SHA-256 {download.sha256}); {_ADVICE}"
        )
    return data


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects within the schemes; urllib itself would go from https to http."""

    def __init__(self, schemes: tuple[str, ...]) -> None:
        self._schemes = schemes

    def redirect_request(  # noqa: PLR0917 - urllib calls it so
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        try:
            _check_scheme(newurl, self._schemes)
        except urllib.error.URLError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _bounded(response: http.client.HTTPResponse, download: Download) -> bytes:
    """The answer, up to one byte more than there should be."""
    until, data = time.monotonic() + download.deadline, bytearray()
    # read1 returns what has arrived, so that a server which sends a byte now and then is noticed.
    while len(data) <= download.size and (chunk := response.read1(min(_CHUNK, download.size + 1 - len(data)))):
        data += chunk
        if time.monotonic() > until:
            raise TimeoutError(f"not complete after {download.deadline:g} seconds")
    return bytes(data)


def _keep(path: Path, data: bytes) -> None:
    """Into the cache if that can be written; a device whose home is read-only fetches each time."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(path, data)
    except (FileError, OSError) as error:
        logger.warning("the face detector could not be kept in the cache: %s", error)


def _check_scheme(url: str, schemes: tuple[str, ...]) -> None:
    if urlsplit(url).scheme not in schemes:
        raise urllib.error.URLError(f"{url} is not {' or '.join(schemes)}")


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        error.close()
    said = error.reason if type(error) is urllib.error.URLError else error
    return one_line(said) or type(error).__name__


def _is_it(data: bytes, download: Download) -> bool:
    return len(data) == download.size and hashlib.sha256(data).hexdigest() == download.sha256

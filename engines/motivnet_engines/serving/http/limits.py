"""What a request may hold: its headers, its deadline, and the bytes of its body."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import anyio
from starlette.datastructures import Headers
from starlette.requests import Request

from motivnet_engines.serving.http.errors import RequestError
from motivnet_engines.serving.http.uploads import read_uploads
from motivnet_engines.serving.request_queue import DrainingError
from motivnet_engines.serving.service import Upload
from motivnet_engines.serving.settings import ServeSettings

DEADLINE_HEADER = "X-Deadline-Ms"
_MAX_DIGITS = 18


def check_head(headers: Headers, settings: ServeSettings) -> None:
    """Return if the headers are within the limits of every path.

    The server limits the bytes of the whole head.

    Raises:
        RequestError: If there are too many headers, or two of them say where the body ends.
    """
    if len(headers.raw) > settings.max_headers:
        message = f"a request has at most {settings.max_headers} headers"
        raise RequestError("too_many_headers", message)
    if "content-length" in headers and "transfer-encoding" in headers:
        # RFC 9112, section 6.1: a reader that goes by the other header finds another request in
        # the body.
        message = "a request has Content-Length or Transfer-Encoding, not both"
        raise RequestError("bad_request", message, close=True)


def check_body_length(headers: Headers, settings: ServeSettings) -> None:
    """Return if the announced length of a body, if any, is within the limit.

    Raises:
        RequestError: If it is too long, or not a number.
    """
    if "content-length" not in headers:
        return
    length = _whole_number(headers["content-length"])
    if length is None:
        raise RequestError("bad_request", "Content-Length is a whole number of bytes")
    if length > settings.max_body_bytes:
        raise too_large(settings.max_body_bytes)


def deadline_seconds(headers: Headers, settings: ServeSettings) -> float:
    """Return how long a request may take: its own header's limit, or the service's if lower.

    Raises:
        RequestError: If the header is not a number of milliseconds.
    """
    if DEADLINE_HEADER not in headers:
        return settings.deadline_s
    asked = _whole_number(headers[DEADLINE_HEADER])
    if not asked:
        message = f"{DEADLINE_HEADER} is a whole number of milliseconds above 0"
        raise RequestError("bad_request", message)
    return min(asked / 1e3, settings.deadline_s)


class UploadBuffer:
    """Reads request bodies, all of which together hold a limited number of bytes.

    Bytes are counted when they arrive: what a client only announces costs nothing.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        self._bytes = 0
        self._draining = False
        self._readers: set[anyio.CancelScope] = set()

    @contextlib.asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[list[Upload]]:
        """Read the images of a body, and hold their bytes for as long as the block runs.

        Raises:
            RequestError: If the body is not images or a form, too long, too slow, or if there is no
                room for it.
            DrainingError: If the service shuts down while the body arrives.
            ClientDisconnect: If the client leaves while the body arrives.
        """
        held = 0

        async def pieces() -> AsyncIterator[bytes]:
            nonlocal held
            async for piece in request.stream():
                if held + len(piece) > self._settings.max_body_bytes:
                    raise too_large(self._settings.max_body_bytes)
                if self._bytes + len(piece) > self._settings.upload_buffer_bytes:
                    raise RequestError("overloaded", "too many bytes are waiting")
                held += len(piece)
                self._bytes += len(piece)
                yield piece

        try:
            yield await self._read(request.headers, pieces())
        finally:
            self._bytes -= held

    def drain(self) -> None:
        """Refuse the bodies that have not arrived yet."""
        self._draining = True
        for scope in self._readers:
            scope.cancel()

    async def _read(self, headers: Headers, pieces: AsyncIterator[bytes]) -> list[Upload]:
        seconds = self._settings.body_timeout_s
        with anyio.move_on_after(seconds) as scope:
            self._readers.add(scope)
            try:
                return await read_uploads(headers, pieces, max_images=self._settings.max_images)
            finally:
                self._readers.discard(scope)
        if self._draining:
            raise DrainingError
        # The rest of the body would be taken for the next request.
        message = f"the body did not arrive within {seconds:g} s"
        raise RequestError("too_slow", message, close=True)


def too_large(max_bytes: int) -> RequestError:
    """Return the error of a body that is longer than the service takes."""
    return RequestError("too_large", f"a body holds at most {max_bytes:,} bytes")


def _whole_number(text: str) -> int | None:
    """Return None unless all are digits; ``int`` takes signs, underscores and other scripts too."""
    if not (text.isascii() and text.isdigit()):
        return None
    digits = text.lstrip("0") or "0"
    return int(digits) if len(digits) <= _MAX_DIGITS else 10**_MAX_DIGITS

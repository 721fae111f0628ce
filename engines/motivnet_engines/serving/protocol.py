"""uvicorn's HTTP/1.1 protocol with the clocks that it lacks.

uvicorn bounds neither how long a client takes to send the head of a request, nor how long it leaves
an answer unread, nor how many connections there are: three clients that send half a head hold three
connections for ever, and with them the end of the process. Its hooks for a server's own protocol
are the methods of the class that is given as ``http``, so this is one of the few places where the
toolkit inherits an implementation.
"""

from __future__ import annotations

import asyncio
import json
import logging
from http import HTTPStatus
from typing import Any

from motivnet.errors import MissingDependencyError
from motivnet_engines.serving.logs import log
from motivnet_engines.serving.metrics import Metrics
from motivnet_engines.serving.refusals import RefusedError, error_body
from motivnet_engines.serving.request_ids import REQUEST_ID_HEADER, request_id
from motivnet_engines.serving.settings import ServeSettings

try:
    import h11
    from uvicorn import Config
    from uvicorn.protocols.http.h11_impl import H11Protocol
    from uvicorn.server import ServerState
except ModuleNotFoundError as error:
    raise MissingDependencyError("uvicorn", extra="serve") from error

logger = logging.getLogger(__name__)

_PIECE = 16_384
_LINES = 8_192
_BYTES_OF_A_LINE = 256
"""A chunked body has two line ends a chunk, and each chunk is parsed in Python while every other
client waits: so many line ends, and one more for every so many bytes."""


def protocol_class(settings: ServeSettings, metrics: Metrics) -> type[asyncio.Protocol]:
    """The class to give to uvicorn, whose constructor has no room for settings."""

    class BoundedProtocol(_BoundedProtocol):
        def __init__(
            self,
            config: Config,
            server_state: ServerState,
            app_state: dict[str, Any],
            **options: Any,
        ) -> None:
            super().__init__(config, server_state, app_state, **options)
            self.settings = settings
            self.metrics = metrics

    return BoundedProtocol


class _BoundedProtocol(H11Protocol):
    """One rule for slow senders: outside a request, a client has ``header_timeout_s`` to send a
    whole head.

    That covers a connection that sends nothing, half a head or one byte a second, one that idles
    after an answer, and one that goes on sending a body that was refused. Within a request the time
    for the body is watched where the body is read, in ``admission``. For slow readers: a client has
    ``write_timeout_s`` to make room for more of its answer.
    """

    settings: ServeSettings
    metrics: Metrics
    _head_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _has_answered = False
    _lines = _bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type] # uvicorn narrows the type, as for every TCP server
        if len(self.connections) > self.settings.max_connections:
            self._refuse(RefusedError("overloaded", "there are too many connections"))
        else:
            self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), _PIECE):
            piece = data[start : start + _PIECE]
            if self._is_crumbs(piece):
                self._refuse_body()
                return
            super().data_received(piece)
        if self._answering():
            self._stop_head_timer()

    def on_response_complete(self) -> None:
        self._has_answered = True
        self._stop_head_timer()
        super().on_response_complete()  # which may find the next request in what has already come
        if not self._answering() and not self.transport.is_closing():
            self._start_head_timer()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(
            self.settings.write_timeout_s, self.transport.abort
        )

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_write_timer()

    def send_400_response(self, msg: str) -> None:
        """Instead of uvicorn's plain text."""
        del msg
        self._refuse(
            RefusedError(
                "bad_request", "this is not a valid HTTP/1.1 request, or its head is too long"
            )
        )

    def _is_crumbs(self, piece: bytes) -> bool:
        """Whether the chunks of a body are so small that reading them keeps everybody else waiting."""
        if self.conn.their_state is not h11.SEND_BODY:
            self._lines = self._bytes = 0
        elif any(name == b"transfer-encoding" for name, _ in self.headers):
            self._lines += piece.count(b"\r\n")
            self._bytes += len(piece)
        return self._lines > _LINES + self._bytes // _BYTES_OF_A_LINE

    def _refuse_body(self) -> None:
        if self.cycle is not None and self.cycle.response_started:
            self.transport.abort()
        else:
            self._refuse(
                RefusedError(
                    "bad_request", "the chunks of the body are too small; send larger ones"
                )
            )

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _too_slow(self) -> None:
        if self._has_answered or self.transport.is_closing():
            self.transport.abort()
        else:
            self._refuse(RefusedError("too_slow", "the head of the request did not arrive in time"))

    def _refuse(self, refusal: RefusedError) -> None:
        """Answers outside a request, where there is no application to ask, and closes the connection."""
        self._stop_head_timer()
        self.metrics.refused(refusal.code)
        self.metrics.answered(path="other", status=refusal.status)
        request = request_id()
        log(logger, "request", request=request, method="other", path="other", status=refusal.status)
        body = json.dumps(error_body(refusal.code, refusal.message, request=request)).encode()
        headers = {
            REQUEST_ID_HEADER: request,
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
            **refusal.headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        status = HTTPStatus(refusal.status)
        self.transport.write(
            f"HTTP/1.1 {status.value} {status.phrase}\r\n{head}\r\n".encode() + body
        )
        self.transport.close()
        # A client that does not read keeps even a closed connection open.
        self._head_timer = self.loop.call_later(
            self.settings.header_timeout_s, self.transport.abort
        )

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.settings.header_timeout_s, self._too_slow)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _stop_timers(self) -> None:
        self._stop_head_timer()
        self._stop_write_timer()

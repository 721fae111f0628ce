"""Runs an application on uvicorn in this process until a signal asks it to end, and ends it without losing an answer.

From the first SIGTERM or SIGINT on ``/readyz`` says so, new requests get 503, and those that were accepted are answered
within the grace period; then every connection is closed, also one that is half open. A second signal ends at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from types import FrameType

from starlette.applications import Starlette
from uvicorn import Config, Server

from motivnet.errors import ConfigError
from motivnet_engines.serving.admission import Admission
from motivnet_engines.serving.logs import log
from motivnet_engines.serving.protocol import protocol_class
from motivnet_engines.serving.settings import ServeSettings

logger = logging.getLogger(__name__)

_BACKLOG = 128
_LAST_WORDS = 0.5
"""Seconds in which answers that are written may still be read."""


def listening_socket(settings: ServeSettings) -> socket.socket:
    """A socket that listens where the settings say, before anything slow is done: a port in use is told at once.

    Raises:
        ConfigError: If the address is not this machine's, or the port is in use or needs more rights.
    """
    host, port = settings.host, settings.port
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ConfigError(f"{host} is not an address of this machine; try 127.0.0.1 or 0.0.0.0") from error
    listener = socket.socket(family, kind, number)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen on {host} port {port}: {error.strerror}; choose another --port") from error
    return listener


def url_of(listener: socket.socket) -> str:
    """Where a browser finds what listens."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run_server(app: Starlette, listener: socket.socket, settings: ServeSettings) -> bool:
    """Answers until a signal comes; False if accepted requests were left unanswered.

    Args:
        app: As ``create_app`` makes it.
        listener: Closed at the end.
    """
    config = Config(
        app,
        loop="asyncio",
        http=protocol_class(settings, app.state.metrics),
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        # Nobody in front is known, so nobody is believed who the client is.
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=max(1, round(settings.header_timeout_s)),
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=settings.max_header_bytes,
    )
    server = _DrainingServer(config, app.state.admission)
    asyncio.run(server.serve_and_drain(listener, settings.grace_s))
    return server.unanswered == 0


class _DrainingServer(Server):
    """uvicorn closes its listeners first and then waits for every connection; this one drains first.

    ``handle_exit`` is what uvicorn calls on a signal. It also sends itself the signal again at the end, unless it never
    saw it: a service that drained ends with status 0.
    """

    def __init__(self, config: Config, admission: Admission) -> None:
        super().__init__(config)
        self.unanswered = 0
        self._admission = admission

    async def serve_and_drain(self, listener: socket.socket, grace: float) -> None:
        """Returns when the service has ended."""
        self._loop = asyncio.get_running_loop()
        drainer = asyncio.create_task(self._drain(grace))
        try:
            await self.serve([listener])
        finally:
            drainer.cancel()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains, a second one ends the process at once."""
        del frame
        if self._admission.draining.is_set():
            self.should_exit = self.force_exit = True
        self._loop.call_soon_threadsafe(self._admission.drain)
        log(logger, "draining", signal=sig)

    async def _drain(self, grace: float) -> None:
        await self._admission.draining.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._admission.until_idle()
        self.unanswered = self._admission.inside
        log(logger, "drained", unanswered=self.unanswered)
        self.should_exit = True
        await asyncio.sleep(_LAST_WORDS)
        for connection in list(self.server_state.connections):
            connection.transport.abort()

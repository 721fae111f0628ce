"""Runs an application on uvicorn in this process until a signal asks it to end, and ends it without
losing an answer.

From the first SIGTERM or SIGINT on ``/readyz`` says so, new requests get 503, and those that were
accepted are answered within the grace period; then every connection is closed, also one that is
half open. A second signal ends the grace period. Those that are not answered by then are told so
with a 503.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a server ended.

    ``unanswered`` counts accepted requests that got no answer; ``grace_left`` are the seconds left
    of the grace period, of which ``hurried`` is set, also afterwards, once a second signal comes.
    """

    unanswered: int
    grace_left: float
    hurried: threading.Event


def bound_socket(settings: ServeSettings) -> socket.socket:
    """A socket where the settings say, before anything slow is done: a port in use is told at once.

    It does not listen yet: until there is somebody to answer, who knocks is refused and need not
    wait.

    Raises:
        ConfigError: If the address is not this machine's, or the port is in use or needs more
        rights.
    """
    host, port = settings.host, settings.port
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[
            0
        ]
    except OSError as error:
        raise ConfigError(
            f"{host} is not an address of this machine; try 127.0.0.1 or 0.0.0.0"
        ) from error
    listener = socket.socket(family, kind, number)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise _cannot_listen(host, port, error) from error
    return listener


def start_listening(listener: socket.socket) -> None:
    """Lets clients in.

    Raises:
        ConfigError: If another process has come first.
    """
    try:
        listener.listen(_BACKLOG)
    except OSError as error:
        host, port = listener.getsockname()[:2]
        raise _cannot_listen(host, port, error) from error


def _cannot_listen(host: str, port: int, error: OSError) -> ConfigError:
    return ConfigError(
        f"cannot listen on {host} port {port}: {error.strerror}; choose another --port"
    )


def url_of(listener: socket.socket) -> str:
    """Where a browser finds what listens."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run_server(app: Starlette, listener: socket.socket, settings: ServeSettings) -> Ended:
    """Answers until a signal comes.

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
    return asyncio.run(server.serve_and_drain(listener, settings.grace_s))


class _DrainingServer(Server):
    """uvicorn closes its listeners first and then waits for every connection; this one drains
    first.

    ``handle_exit`` is what a signal calls. uvicorn would send itself the signal again at the end,
    but a service that drained ends with status 0.
    """

    def __init__(self, config: Config, admission: Admission) -> None:
        super().__init__(config)
        self._admission = admission
        self._signals = 0
        self._hurried = threading.Event()
        self._hurry = asyncio.Event()
        self._unanswered = 0
        self._grace_end = 0.0

    async def serve_and_drain(self, listener: socket.socket, grace: float) -> Ended:
        """Returns when the service has ended."""
        self._loop = asyncio.get_running_loop()
        drainer = asyncio.create_task(self._drain(grace))
        try:
            await self.serve([listener])
        finally:
            drainer.cancel()
            unanswered = self._unanswered + self._admission.inside
        left = max(0.0, self._grace_end - time.monotonic())
        return Ended(unanswered=unanswered, grace_left=left, hurried=self._hurried)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Unlike uvicorn's own it lasts as long as the process: a late signal must neither kill it nor raise in it."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self.handle_exit)
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains, a second one ends the grace period."""
        del frame
        # Counted here and not by what the event loop has done of it: two may come before it has its
        # turn.
        self._signals += 1
        if self._signals > 1:
            self._hurried.set()
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(
                self._admission.drain if self._signals == 1 else self._hurry.set
            )
        log(logger, "draining", signal=sig)

    async def _drain(self, grace: float) -> None:
        await self._admission.draining.wait()
        self._grace_end = time.monotonic() + grace
        waits = [
            asyncio.ensure_future(wait)
            for wait in (self._admission.until_idle(), self._hurry.wait())
        ]
        await asyncio.wait(waits, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        self._unanswered = self._admission.inside
        self._admission.give_up()
        log(logger, "drained", unanswered=self._unanswered)
        # What was given up leaves in the next turns of the event loop, before uvicorn looks at
        # this.
        self.should_exit = True
        await asyncio.sleep(_LAST_WORDS)
        for connection in list(self.server_state.connections):
            connection.transport.abort()

"""Runs the application on uvicorn until a signal, and shuts down without losing an answer.

From the first SIGTERM or SIGINT, ``/readyz`` says so and new requests get 503. Accepted requests
are answered within the grace period, which a second signal ends; those still open then get 503.
Only public settings of the server are used. What they lack, a limit for the time in which the head
of a request arrives, is the work of a proxy in front (docs/serving.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from starlette.applications import Starlette

from motivnet.artifact import open_artifact
from motivnet.errors import ConfigError, MissingDependencyError
from motivnet_engines.faces.detector import FaceDetector
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.serving.batching import batching_for
from motivnet_engines.serving.http.app import create_app
from motivnet_engines.serving.logs import configure_logging, log
from motivnet_engines.serving.settings import ServeSettings

try:
    from uvicorn import Config, Server
except ModuleNotFoundError as error:
    raise MissingDependencyError("uvicorn", extra="serve") from error

logger = logging.getLogger(__name__)

_BACKLOG = 128
_LAST_SECONDS = 1
"""For clients to read answers that are already written."""
_MOMENT = 0.1
"""Seconds that threads without work need to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    """Whether every accepted request was answered, and whether no thread is still working."""

    answered: bool
    idle: bool


class _Signals:
    """Counts SIGTERM and SIGINT; the main thread's."""

    def __init__(self) -> None:
        self.count = 0
        self.first_at = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None

    def catch(self) -> None:
        """Catch them until the process ends: a late signal must neither kill it nor raise in it."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def watch(self) -> tuple[asyncio.Event, asyncio.Event]:
        """Return two events of the running loop: for the first signal and for the second."""
        self._events = asyncio.Event(), asyncio.Event()
        self._loop = asyncio.get_running_loop()
        return self._events

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.count += 1
        self.first_at = self.first_at or time.monotonic()
        log(logger, "draining", signal=number)
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._events[self.count > 1].set)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpService:
    """A service whose socket is open, and which begins to answer with ``run``."""

    classifier: EmotionClassifier
    app: Starlette
    listener: socket.socket
    settings: ServeSettings

    @property
    def url(self) -> str:
        """The address for a browser."""
        return url_of(self.listener)

    @property
    def runtime(self) -> str:
        """The name of the runtime that answers."""
        return self.classifier.runtime.name

    def run(self) -> Shutdown:
        """Answer until SIGTERM or SIGINT, after which the process is to end."""
        configure_logging(sys.stderr)
        signals = _Signals()
        signals.catch()
        unanswered = asyncio.run(self._serve(signals))
        end = signals.first_at + self.settings.grace_s
        idle = self.app.state.service.close(timeout=_MOMENT)
        while not idle and time.monotonic() < end and signals.count < 2:
            idle = self.app.state.service.close(timeout=_MOMENT)
        # Closing a runtime waits for its calls, and an abandoned one may outlast the grace period.
        if idle:
            self.classifier.close()
        return Shutdown(answered=unanswered == 0, idle=idle)

    async def _serve(self, signals: _Signals) -> int:
        """Answer until a signal; return how many accepted requests were left unanswered."""
        first, second = signals.watch()
        server = Server(server_config(self.app, self.settings))
        serving = asyncio.create_task(server.serve(sockets=[self.listener]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        # The server has installed its own handlers, which close the listener at once.
        signals.catch()
        signalled = asyncio.create_task(first.wait())
        await asyncio.wait({signalled, serving}, return_when=asyncio.FIRST_COMPLETED)
        self.app.state.uploads.drain()
        queue = self.app.state.service.queue
        unanswered: int = await queue.drain(grace=self.settings.grace_s, hurry=second)
        log(logger, "drained", unanswered=unanswered)
        server.should_exit = True
        await serving
        return unanswered


def open_service(
    folder: Path,
    settings: ServeSettings,
    *,
    runtime: str | None = None,
    trust_engines: bool = False,
    threads: int | None = None,
    detector: FaceDetector | None = None,
    unknown: bool = False,
    classes: Path | None = None,
) -> HttpService:
    """Return a service of the artifact in a folder.

    Connections are refused until the model is open and measured.

    Raises:
        MotivNetError: If the address cannot be listened on, or as ``EmotionClassifier.open`` and
            ``batching_for``.
    """
    listener = bind_socket(settings)  # before anything slow: a port in use is reported at once
    try:
        classifier = EmotionClassifier.open(
            folder,
            runtime=runtime,
            trust_engines=trust_engines,
            threads=threads,
            detector=detector,
            unknown=unknown,
            adapted_classes=classes,
        )
        batching = batching_for(classifier, open_artifact(folder), max_batch=settings.max_batch)
        start_listening(listener)
    except BaseException:
        listener.close()
        raise
    app = create_app(classifier, settings, name=folder.resolve().name, batching=batching)
    return HttpService(classifier=classifier, app=app, listener=listener, settings=settings)


def bind_socket(settings: ServeSettings) -> socket.socket:
    """Return a socket that is bound and does not listen yet.

    Raises:
        ConfigError: If the address is not this machine's, or the port is in use or needs more
            rights.
    """
    host, port = settings.host, settings.port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(
            f"{host} is not an address of this machine; try 127.0.0.1 or 0.0.0.0"
        ) from error
    family, kind, number, _, address = found[0]
    listener = socket.socket(family, kind, number)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # on Linux: end connections of clients that do
            # not read their answers, which neither asyncio nor the server has a setting for.
            timeout_ms = round(settings.write_timeout_s * 1e3)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise _cannot_listen(host, port, error) from error
    return listener


def start_listening(listener: socket.socket) -> None:
    """Let clients connect.

    Raises:
        ConfigError: If another process has taken the port.
    """
    try:
        listener.listen(_BACKLOG)
    except OSError as error:
        host, port = listener.getsockname()[:2]
        raise _cannot_listen(host, port, error) from error


def url_of(listener: socket.socket) -> str:
    """Return the address of what listens, for a browser."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _cannot_listen(host: str, port: int, error: OSError) -> ConfigError:
    return ConfigError(
        f"cannot listen on {host} port {port}: {error.strerror}; choose another --port"
    )


def server_config(app: Starlette, settings: ServeSettings) -> Config:
    """Return the settings of the server."""
    return Config(
        app,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # no proxy is known whose word on the client could be trusted
        server_header=False,
        backlog=_BACKLOG,
        limit_concurrency=settings.max_connections + 1,
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=_LAST_SECONDS,
        h11_max_incomplete_event_size=settings.max_header_bytes,
    )

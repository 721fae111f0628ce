"""Runs the application on uvicorn until a signal, and shuts down without losing an answer."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from starlette.applications import Starlette

from motivnet.artifact import open_artifact
from motivnet.errors import ConfigError, MissingDependencyError
from motivnet_engines.faces.detector import FaceDetector
from motivnet_engines.inference.cascade import Cascade, Classifier, open_classifier
from motivnet_engines.serving.batching import batching_for, batching_for_cascade
from motivnet_engines.serving.http.app import create_app
from motivnet_engines.serving.logs import log
from motivnet_engines.serving.settings import ServeSettings

try:
    from uvicorn import Config, Server
except ModuleNotFoundError as error:
    raise MissingDependencyError("uvicorn", extra="serve") from error

logger = logging.getLogger(__name__)

_BACKLOG = 128
_MOMENT = 0.1
"""Seconds that threads without work need to end."""


class _Signals:
    """Counts SIGTERM and SIGINT, and sets an event of the running loop for each of the first two.

    They are caught until the process ends: a late one must neither kill it nor raise in it.
    """

    def __init__(self) -> None:
        self.count = 0
        self.first_at = 0.0
        self.first, self.second = asyncio.Event(), asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.catch()

    def catch(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def _handle(self, number: int, _: FrameType | None) -> None:
        self.count += 1
        self.first_at = self.first_at or time.monotonic()
        log(logger, "draining", signal=number)
        event = self.first if self.count == 1 else self.second
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(event.set)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpService:
    """A service whose socket is open, and which begins to answer with ``run``."""

    classifier: Classifier
    app: Starlette
    listener: socket.socket
    settings: ServeSettings

    @property
    def url(self) -> str:
        """The address for a browser."""
        host, port, *more = self.listener.getsockname()
        # Of a link-local address, with the interface (RFC 6874, section 2).
        zone = f"%25{socket.if_indextoname(more[1])}" if more and more[1] else ""
        return f"http://[{host}{zone}]:{port}" if ":" in host else f"http://{host}:{port}"

    def run(self) -> NoReturn:
        """Answer until SIGTERM or SIGINT, and end the process.

        From the first signal, ``/readyz`` says so and new requests get 503. Accepted requests are
        answered within the grace period, which a second signal ends; those still open then get 503.

        Raises:
            SystemExit: With 0 if every accepted request was answered, else with 1.
        """
        signals, unanswered = asyncio.run(self._serve())
        end = signals.first_at + self.settings.grace_s
        idle = self.app.state.service.close(timeout=_MOMENT)
        while not idle and time.monotonic() < end and signals.count < 2:
            idle = self.app.state.service.close(timeout=_MOMENT)
        status = 1 if unanswered else 0
        if not idle:
            # A call in native code for an abandoned request can neither be stopped nor survive the
            # interpreter's end, and closing the runtime would wait for it.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        self.classifier.close()
        sys.exit(status)

    async def _serve(self) -> tuple[_Signals, int]:
        """Answer until a signal; return how many accepted requests were left unanswered."""
        signals = _Signals()
        server = Server(server_config(self.app, self.settings))
        serving = asyncio.create_task(server.serve(sockets=[self.listener]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        # The server has installed its own handlers, which close the listener at once.
        signals.catch()
        signalled = asyncio.create_task(signals.first.wait())
        await asyncio.wait({signalled, serving}, return_when=asyncio.FIRST_COMPLETED)
        self.app.state.uploads.drain()
        queue = self.app.state.service.queue
        unanswered = await queue.drain(grace=self.settings.grace_s, hurry=signals.second)
        log(logger, "drained", unanswered=unanswered)
        server.should_exit = True
        await serving
        return signals, unanswered


def open_service(
    folder: Path,
    settings: ServeSettings,
    *,
    escalate: Path | None = None,
    runtime: str | None = None,
    trust_engines: bool = False,
    threads: int | None = None,
    detector: FaceDetector | None = None,
    unknown: bool = False,
    classes: Path | None = None,
) -> HttpService:
    """Return a service of the artifact in a folder.

    Connections are refused until the model is open and measured, with ``escalate`` both models.

    Args:
        escalate: The full model's folder, for a cascade.

    Raises:
        MotivNetError: If the address cannot be listened on, or as ``open_classifier`` and
            ``batching_for``.
    """
    listener = bind_socket(settings)  # before anything slow: a port in use is reported at once
    try:
        classifier = open_classifier(
            folder,
            escalate=escalate,
            runtime=runtime,
            trust_engines=trust_engines,
            threads=threads,
            detector=detector,
            unknown=unknown,
            adapted_classes=classes,
        )
        artifacts = [open_artifact(path) for path in (folder, escalate) if path is not None]
        if isinstance(classifier, Cascade):
            batching = batching_for_cascade(classifier, *artifacts, max_batch=settings.max_batch)
        else:
            batching = batching_for(classifier, *artifacts, max_batch=settings.max_batch)
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
    host, port = settings.address, settings.port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # the latter of a name that no DNS could hold
        raise ConfigError(
            f"{host} is not an address of this machine; try 127.0.0.1, 0.0.0.0, ::1 or ::"
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


def _cannot_listen(host: str, port: int, error: OSError) -> ConfigError:
    other = "--host" if error.errno == errno.EADDRNOTAVAIL else "--port"
    return ConfigError(
        f"cannot listen on {host} port {port}: {error.strerror}; choose another {other}"
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
        timeout_graceful_shutdown=1,  # for clients to read answers that are already written
        h11_max_incomplete_event_size=settings.max_header_bytes,
    )

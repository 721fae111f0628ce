"""The server of ``motivnet serve`` in a thread."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import uvicorn

from motivnet_engines.serving.http.server import server_config
from motivnet_engines.serving.settings import ServeSettings


class AnnouncedServer(uvicorn.Server):
    """Sets ``ready`` once it accepts connections."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@pytest.fixture
def running() -> Callable[..., AbstractContextManager[None]]:
    """A function that runs an application on a socket for as long as its block runs."""

    @contextmanager
    def run(app: Any, listener: socket.socket, *, connections: int = 2) -> Iterator[None]:
        config = server_config(app, ServeSettings(max_connections=connections))
        server = AnnouncedServer(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            assert server.ready.wait(60)
            yield
        finally:
            server.should_exit = True
            thread.join()

    return run

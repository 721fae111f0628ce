"""What only a socket can say: targets and bytes that no client library sends."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn

from motivnet_engines.serving.protocol import protocol_class
from motivnet_engines.serving.settings import ServeSettings

Exchange = Callable[[bytes], tuple[int, str, bytes]]


@pytest.fixture
def exchange(make_app: Callable[..., Any]) -> Iterator[Exchange]:
    """A function that sends bytes to a running service and gives the status, the head and the body of its answer."""
    app, settings = make_app(), ServeSettings()
    config = uvicorn.Config(app, port=0, http=protocol_class(settings, app.state.metrics), log_config=None, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)

    def exchanged(data: bytes) -> tuple[int, str, bytes]:
        with socket.create_connection(server.servers[0].sockets[0].getsockname(), timeout=10) as connection:
            connection.sendall(data)
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), head.decode(), body

    yield exchanged
    server.should_exit = True
    thread.join()


def request(line: bytes, host: bytes = b"localhost") -> bytes:
    return line + b" HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n"


def test_a_target_may_name_the_host_and_then_the_header_is_not_asked(exchange: Exchange) -> None:
    assert exchange(request(b"GET http://localhost:8941/healthz"))[0] == 200
    assert exchange(request(b"GET http://evil.example/healthz"))[0] == 403
    assert exchange(request(b"GET http://localhost/healthz", host=b"evil.example"))[0] == 200


def test_options_of_the_whole_service_says_which_methods_there_are(exchange: Exchange) -> None:
    status, head, _ = exchange(request(b"OPTIONS *"))
    assert (status, re.findall("(?i)allow: (.*?)\r", head)) == (405, ["GET, HEAD, POST"])


def test_what_is_no_request_has_an_id_too(exchange: Exchange, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="motivnet_engines")
    status, head, body = exchange(b"nonsense\r\n\r\n")
    error = json.loads(body)["error"]
    assert (status, error["code"]) == (400, "bad_request")
    assert f"X-Request-Id: {error['request']}" in head
    assert [record.fields["request"] for record in caplog.records if record.name.startswith("motivnet")] == [
        error["request"]
    ]

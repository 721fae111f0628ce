"""What only a socket can say: targets and bytes that no client library sends."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import h11
import pytest
import uvicorn

from motivnet_engines.serving.protocol import protocol_class
from motivnet_engines.serving.settings import ServeSettings

Exchange = Callable[[bytes], tuple[int, str, bytes]]


@pytest.fixture
def exchange(make_app: Callable[..., Any]) -> Iterator[Exchange]:
    """A function that sends bytes to a running service and gives the status, the head and the body of its answer."""
    app, settings = make_app(), ServeSettings()
    config = uvicorn.Config(
        app, port=0, http=protocol_class(settings, app.state.metrics), log_config=None, ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)

    def exchanged(data: bytes) -> tuple[int, str, bytes]:
        with socket.create_connection(
            server.servers[0].sockets[0].getsockname(), timeout=10
        ) as connection:
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


def test_what_is_no_request_has_an_id_too(
    exchange: Exchange, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="motivnet_engines")
    status, head, body = exchange(b"nonsense\r\n\r\n")
    error = json.loads(body)["error"]
    assert (status, error["code"]) == (400, "bad_request")
    assert f"X-Request-Id: {error['request']}" in head
    assert [
        record.fields["request"] for record in caplog.records if record.name.startswith("motivnet")
    ] == [error["request"]]


CHUNKED = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"


@pytest.mark.parametrize("kind", [b"image/png", b"text/plain"])
def test_a_body_in_very_many_tiny_chunks_is_ended_early(
    exchange: Exchange, kind: bytes, monkeypatch: Any
) -> None:
    parsed = 0
    receive = h11.Connection.receive_data

    def counting(connection: h11.Connection, data: bytes) -> None:
        nonlocal parsed
        parsed += len(data)
        receive(connection, data)

    monkeypatch.setattr(h11.Connection, "receive_data", counting)
    body = b"1\r\na\r\n" * 200_000 + b"0\r\n\r\n"
    with contextlib.suppress(
        OSError, IndexError
    ):  # what was not read when the connection is closed resets it
        status, _, _ = exchange(CHUNKED + b"Content-Type: " + kind + b"\r\n\r\n" + body)
        assert status in (400, 415)
    assert parsed < len(body) / 10


def test_a_body_in_ordinary_chunks_is_read(
    exchange: Exchange, unique_photo: Callable[[int], bytes]
) -> None:
    photo = unique_photo(7) + b"\r\n" * 3_000  # after the end of a PNG there may be anything
    pieces = (
        b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in batched(photo, 50))
        + b"0\r\n\r\n"
    )
    status, _, body = exchange(CHUNKED + b"Content-Type: image/png\r\n\r\n" + pieces)
    assert (status, json.loads(body)["images"][0]["error"]) == (200, None)


def batched(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))

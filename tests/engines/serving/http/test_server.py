"""The service on a socket, and how its process ends."""

from __future__ import annotations

import gzip
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from motivnet.errors import ArtifactError, ConfigError
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.serving.http.server import (
    HttpService,
    bind_socket,
    open_service,
    start_listening,
)
from motivnet_engines.serving.settings import ServeSettings, is_loopback

SERVED = Path(__file__).parents[1] / "reliability" / "served.py"

Exchange = Callable[[bytes], tuple[int, str, bytes]]
Running = Callable[..., AbstractContextManager[None]]


@pytest.fixture
def exchange(make_app: Callable[..., Any], running: Running) -> Iterator[Exchange]:
    """A function that sends bytes to a service and returns status, head and body of its answer."""
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()

    def exchanged(data: bytes) -> tuple[int, str, bytes]:
        with socket.create_connection(address, timeout=10) as connection:
            connection.sendall(data)
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), head.decode(), body

    exchanged.address = address  # type: ignore[attr-defined]
    with running(make_app(), listener):
        yield exchanged


def request(line: bytes, host: bytes = b"localhost") -> bytes:
    return line + b" HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET /healthz", 200),
        (b"GET http://localhost/healthz", 404),
        (b"OPTIONS *", 404),
        (b"GET /page/..%2f__init__.py", 404),
        (b"BREW /healthz", 405),
    ],
)
def test_a_target_is_a_path(exchange: Exchange, line: bytes, status: int) -> None:
    found, head, body = exchange(request(line))
    assert found == status
    assert re.search("(?i)x-request-id: ", head)
    assert status == 200 or "error" in json.loads(body)


def test_what_is_no_request_is_refused_without_an_id_or_a_version(exchange: Exchange) -> None:
    status, head, body = exchange(b"nonsense\r\n\r\n")
    assert status == 400
    assert not re.search("(?i)server: |x-request-id: ", head)
    assert body == b"Invalid HTTP request received."


def test_a_head_beyond_its_limit_is_refused(exchange: Exchange) -> None:
    data = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000
    assert exchange(data)[0] == 400


def test_one_connection_too_many_is_refused(exchange: Exchange) -> None:
    address = exchange.address  # type: ignore[attr-defined]
    with socket.create_connection(address) as first, socket.create_connection(address) as second:
        for other in (first, second):
            other.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert other.recv(65_536).startswith(b"HTTP/1.1 200")
        status, head, _ = exchange(request(b"GET /healthz"))
        assert status == 503
        assert not re.search("(?i)x-request-id: ", head)


def test_an_upload_that_is_refused_early_still_gets_its_answer(exchange: Exchange) -> None:
    address = exchange.address  # type: ignore[attr-defined]
    head = b"POST /v1/predict HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 3000000\r\n\r\n"
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(head)
        for _ in range(30):
            connection.sendall(bytes(100_000))
        assert connection.recv(65_536).startswith(b"HTTP/1.1 403")


def test_a_body_in_chunks_is_read(exchange: Exchange, photo: bytes) -> None:
    head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    head += b"Content-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = [photo[start : start + 7] for start in range(0, len(photo), 7)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    status, _, body = exchange(head + chunks + b"0\r\n\r\n")
    assert (status, json.loads(body)["images"][0]["error"]) == (200, None)


def test_a_client_that_waits_for_100_continue_is_told_to_go_on(
    exchange: Exchange, photo: bytes
) -> None:
    head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    head += b"Content-Type: image/png\r\nExpect: 100-continue\r\n"
    address = exchange.address  # type: ignore[attr-defined]
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(photo))
        assert connection.recv(65_536).startswith(b"HTTP/1.1 100 ")
        connection.sendall(photo)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
    # What is refused by its head is not sent first.
    assert exchange(head + b"Content-Length: 20000001\r\n\r\n")[0] == 413


def test_a_compressed_body_is_refused(exchange: Exchange, photo: bytes) -> None:
    body = gzip.compress(photo)
    head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    head += b"Content-Type: image/png\r\nContent-Encoding: gzip\r\n"
    status, _, answer = exchange(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert status == 415
    assert "without Content-Encoding" in json.loads(answer)["error"]["message"]


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", None),  # of which the system chooses the address
        ("::1", "[::1]"),
        ("[::1]", "[::1]"),
        ("[0:0::1]", "[::1]"),
        ("::ffff:127.0.0.1", "[::ffff:127.0.0.1]"),
        ("0.0.0.0", "0.0.0.0"),
        ("::", "[::]"),
        ("[::]", "[::]"),
    ],
)
def test_the_url_of_every_address_leads_to_the_service(
    make_app: Callable[..., Any],
    running: Running,
    classifier: EmotionClassifier,
    host: str,
    shown: str | None,
) -> None:
    token = None if is_loopback(host) else "0123456789abcdef"
    settings = ServeSettings(host=host, port=0, token=token)
    app = make_app(host=host, token=token)
    with bind_socket(settings) as listener:
        service = HttpService(classifier=classifier, app=app, listener=listener, settings=settings)
        url = httpx.URL(service.url)
        assert shown is None or service.url == f"http://{shown}:{url.port}"
        with running(app, listener):
            assert httpx.get(f"{service.url}/healthz").status_code == 200


def test_the_url_of_a_link_local_address_names_its_interface(make_app: Callable[..., Any]) -> None:
    index, name = socket.if_nameindex()[0]

    class Listener:
        def getsockname(self) -> tuple[str, int, int, int]:
            return "fe80::1", 8000, 0, index

    service = HttpService(
        classifier=None,  # type: ignore[arg-type] # neither is asked for a URL
        app=make_app(),
        listener=Listener(),  # type: ignore[arg-type]
        settings=ServeSettings(),
    )
    assert service.url == f"http://[fe80::1%25{name}]:8000"


def test_an_address_of_another_machine_is_refused() -> None:
    for host in ("192.0.2.1", "2001:db8::1", "[2001:db8::1]"):
        with pytest.raises(ConfigError, match=r"cannot listen on .*; choose another --host"):
            bind_socket(ServeSettings(host=host, token="0123456789abcdef"))
    for host in ("no.such.host.invalid", "a..b", "a" * 70 + ".example", "fe80::1%nothing"):
        with pytest.raises(ConfigError, match="not an address of this machine"):
            bind_socket(ServeSettings(host=host, token="0123456789abcdef"))


def test_an_artifact_that_cannot_be_opened_leaves_the_port_free(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for _ in range(2):
        with pytest.raises(ArtifactError):
            open_service(tmp_path, ServeSettings(port=port))


def test_connections_are_refused_until_the_model_is_open(
    fp32_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    opened = EmotionClassifier.open

    def opening(*arguments: Any, **options: Any) -> EmotionClassifier:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        return opened(*arguments, **options)

    monkeypatch.setattr(EmotionClassifier, "open", opening)
    service = open_service(fp32_artifact, ServeSettings(port=port))
    with service.listener, service.classifier, socket.create_connection(("127.0.0.1", port)):
        assert service.app.state.service.close(timeout=5)


def test_a_port_that_another_took_meanwhile_is_told() -> None:
    first = bind_socket(ServeSettings(port=0))
    with first, bind_socket(ServeSettings(port=first.getsockname()[1])) as second:
        start_listening(first)
        with pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1 port"):
            start_listening(second)


WITH_ATEXIT = f"""
import atexit, runpy, sys
atexit.register(print, "the end", flush=True)
sys.path.insert(0, {str(SERVED.parent)!r})
sys.argv[0] = {str(SERVED)!r}
runpy.run_path({str(SERVED)!r}, run_name="__main__")
"""


@pytest.mark.parametrize(
    ("milliseconds", "grace", "rest"),
    [
        (0, 10, "the end\n"),
        (1000, 30, "the end\n"),  # the call ends within the grace period, and is waited for
        (60_000, 0.5, ""),  # the call outlasts it, so that nothing else is done at the end
    ],
)
def test_a_process_ends_as_soon_as_no_call_is_running_or_its_grace_period_is_over(
    photo: bytes, milliseconds: int, grace: float, rest: str
) -> None:
    options = {"ms_per_image": milliseconds, "settings": {"grace_s": grace}}
    command = [sys.executable, "-c", WITH_ATEXIT, json.dumps(options)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        headers = {"Content-Type": "image/png", "X-Deadline-Ms": "300" if milliseconds else "9000"}
        httpx.post(f"{url}/v1/predict", content=photo, headers=headers)
        process.send_signal(signal.SIGTERM)
        assert (process.stdout.read(), process.wait(40)) == (rest, 0)

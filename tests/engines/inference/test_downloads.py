"""Pictures from servers that answer, redirect, lie, refuse, break off and fall silent."""

from __future__ import annotations

import contextlib
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.error import URLError

import pytest

from motivnet.errors import FileError
from motivnet_engines.inference import downloads
from motivnet_engines.inference.downloads import download, in_background, picture_at, result_of
from motivnet_engines.inference.web_address import address_from_text

from ..video.servers import Answer, http_server, sends

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8


def fetch(port: int, path: str = "x.png", *, scheme: str = "http") -> bytes:
    return picture_at(address_from_text(f"{scheme}://127.0.0.1:{port}/{path}"))


def redirects(target: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.path == "/there":
            sends(PICTURE)(handler)
            return
        handler.send_response(302)
        handler.send_header("Location", target)
        handler.end_headers()

    return answer


def says(kind: str, body: bytes) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def hangs_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.close()


def no_http(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH\r\n")


def chunks_and_hangs_up(handler: BaseHTTPRequestHandler) -> None:
    handler.protocol_version = "HTTP/1.1"
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"ffff\r\n" + PICTURE)


@pytest.mark.parametrize(
    "answer", [sends(PICTURE), says("image/png", PICTURE), redirects("/there"), redirects("there")]
)
def test_the_bytes_of_a_picture_are_returned(answer: Answer) -> None:
    with http_server(answer) as port:
        assert fetch(port) == PICTURE


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (sends(b"", status=404), "the server answers 404 Not Found"),
        (sends(b"", status=500), "the server answers 500 Internal Server Error"),
        (sends(PICTURE, status=206), "the server answers 206 Partial Content"),
        (sends(PICTURE, declared=9_999), "the connection ended after 2,056 of 9,999 bytes"),
        (chunks_and_hangs_up, "the connection ended after "),
        (redirects("/again"), "the server redirects too often"),
        (redirects("file:///etc/passwd"), "the server redirects too often, or not to another"),
        (redirects("ftp://127.0.0.1/there"), "the server redirects to ftp://"),
        (redirects("http://me:word@127.0.0.1/"), "the server redirects to an address with a user"),
        (hangs_up, "the server closes the connection without an answer"),
        (no_http, "the server does not answer as HTTP asks for"),
    ],
)
def test_what_goes_wrong_is_one_line(answer: Answer, reason: str) -> None:
    with http_server(answer) as port, pytest.raises(FileError) as raised:
        fetch(port, "x.png?token=secret")
    expected = f"http://127.0.0.1:{port}/x.png?token=... cannot be read: {reason}"
    assert str(raised.value).startswith(expected)


@pytest.mark.parametrize(
    "answer",
    [
        says("text/html; charset=utf-8", b"anything"),
        says("image/png", b"\n<!DOCTYPE html><title>x"),
        sends(b"<html><body>please log in"),
    ],
)
def test_a_page_is_not_taken_for_a_picture(answer: Answer) -> None:
    with http_server(answer) as port, pytest.raises(FileError, match="is a web page, not a pict"):
        fetch(port)


@pytest.mark.parametrize("says_so", [True, False])
def test_no_more_is_read_than_a_file_may_have(says_so: bool) -> None:
    sent = 0

    def answer(handler: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        handler.send_response(200)
        if says_so:
            handler.send_header("Content-Length", str(1 << 40))
        handler.end_headers()
        handler.wfile.write(PICTURE)
        while sent < 1 << 30:
            sent += handler.wfile.write(bytes(1 << 20))

    with http_server(answer) as port, pytest.raises(FileError, match="has more than the 5,000 byt"):
        download(address_from_text(f"http://127.0.0.1:{port}/x.png"), max_bytes=5_000)
    assert sent < 1 << 28


def test_a_silent_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "SILENT_SECONDS", 0.1)
    end = threading.Event()
    with http_server(lambda _: end.wait() and None) as port:
        with pytest.raises(FileError, match="cannot be read: the server does not answer in time"):
            fetch(port)
        end.set()


def test_what_drips_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "TOTAL_SECONDS", 0.1)
    end = threading.Event()
    started = in_background(end.wait)
    with pytest.raises(FileError, match="x cannot be read: it takes more than 0 seconds"):
        result_of(started, name="x")
    end.set()


def test_user_and_password_go_to_their_host_alone() -> None:
    seen = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        seen.append((handler.path, handler.headers["Authorization"]))
        redirects("/there")(handler)

    with http_server(answer) as port:
        address = address_from_text(f"http://me:word@127.0.0.1:{port}/x")
        assert picture_at(address) == PICTURE
    assert seen == [("/x", "Basic bWU6d29yZA=="), ("/there", None)]


@pytest.fixture
def own_certificate(tmp_path: Path) -> Path:
    """A certificate for this machine that nobody vouches for, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl")
    path = tmp_path / "own.pem"
    options = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=x"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path, "-out", tmp_path / "cert"]
    subprocess.run([openssl, *options.split(), *names], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + (tmp_path / "cert").read_bytes())
    return path


@contextlib.contextmanager
def https_server(answer: Answer, certificate: Path) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    class Server(HTTPServer):
        def handle_error(self, *_: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_certificate_that_nobody_vouches_for_is_refused(own_certificate: Path) -> None:
    with (
        https_server(sends(PICTURE), own_certificate) as port,
        pytest.raises(FileError, match="its certificate is not valid: self-signed certificate"),
    ):
        fetch(port, scheme="https")


def test_https_is_read_and_not_left(own_certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(own_certificate))
    with https_server(redirects("/there"), own_certificate) as port:
        assert fetch(port, scheme="https") == PICTURE
    with (
        https_server(redirects("http://127.0.0.1/there"), own_certificate) as port,
        pytest.raises(FileError, match="the server redirects to http://"),
    ):
        fetch(port, scheme="https")


@pytest.mark.parametrize("scheme", ["file", "ftp", "data"])
def test_nothing_else_can_be_opened(scheme: str) -> None:
    with pytest.raises(URLError, match="unknown url type"):
        downloads._opener().open(f"{scheme}:///etc/passwd")

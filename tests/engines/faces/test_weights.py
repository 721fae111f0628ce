"""The detector's model: fetched once from a real server, whole or not at all, and never another file."""

from __future__ import annotations

import hashlib
import multiprocessing
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from motivnet.errors import FileError
from motivnet_engines.faces import weights
from motivnet_engines.faces.weights import YUNET, Download, cached, fetched, yunet_model

DATA = bytes(range(256)) * 300


class Server:
    """Answers by path, and counts what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.asked.append(self.path)
                ANSWERS[self.path](self)

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _send(handler: BaseHTTPRequestHandler, data: bytes, *, length: int | None = None) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(data) if length is None else length))
    handler.end_headers()
    handler.wfile.write(data)


def _redirect(to: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", to)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def _trickle(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    try:
        for _ in range(100):
            handler.wfile.write(b"x")
            time.sleep(0.05)
    except OSError:  # the client has left
        return


def _endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(DATA)
    except OSError:  # the client has left
        return


ANSWERS: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {
    "/model": lambda handler: _send(handler, DATA),
    "/moved": _redirect("/model"),
    "/to-ftp": _redirect("ftp://127.0.0.1/model"),
    "/to-file": _redirect("file:///etc/hostname"),
    "/loop": _redirect("/loop"),
    "/wrong": lambda handler: _send(handler, DATA[:-1] + b"!"),
    "/pointer": lambda handler: _send(handler, b"version https://git-lfs.github.com/spec/v1\n"),
    "/truncated": lambda handler: _send(handler, DATA[:1000], length=len(DATA)),
    "/endless": _endless,
    "/trickle": _trickle,
    "/silent": lambda _: time.sleep(2),
    "/missing": lambda handler: handler.send_error(404),
}


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture
def download(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Download]:
    """A function that gives what lies at a path of the server, for which plain http is allowed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def at(path: str) -> Download:
        return Download(
            name="model.onnx",
            url=server.url + path,
            size=len(DATA),
            sha256=hashlib.sha256(DATA).hexdigest(),
            schemes=("http",),
            timeout=0.5,
            deadline=0.5,
        )

    return at


def test_the_model_is_fetched_once_into_a_private_folder(download, server: Server, tmp_path: Path) -> None:
    assert [cached(download("/model")) for _ in range(3)] == [DATA] * 3
    assert server.asked == ["/model"]
    folder = tmp_path / "cache" / "motivnet"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name for path in folder.iterdir()] == ["model.onnx"]
    assert stat.S_IMODE((folder / "model.onnx").stat().st_mode) == 0o600


def test_a_redirect_within_the_schemes_is_followed(download, server: Server) -> None:
    assert fetched(download("/moved")) == DATA
    assert server.asked == ["/moved", "/model"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/to-ftp", "ftp://127.0.0.1/model is not http"),
        ("/to-file", "is not allowed"),
        ("/loop", "infinite loop"),
        ("/wrong", "gives 76,800 bytes that are not the face detector"),
        ("/pointer", "gives 43 bytes that are not the face detector"),
        ("/truncated", "gives 1,000 bytes that are not the face detector"),
        ("/endless", "gives 76,801 bytes that are not the face detector"),
        ("/trickle", "not complete after 0.5 seconds"),
        ("/silent", "timed out"),
        ("/missing", "Not Found"),
    ],
)
def test_what_is_not_the_model_leaves_nothing(path: str, words: str, download, tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(FileError) as raised:
        cached(download(path))
    assert time.monotonic() - started < 5
    assert words in str(raised.value)
    assert "--detector FILE" in str(raised.value)
    assert "--no-detect" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "cache").exists()


def test_plain_http_is_refused_unless_it_is_allowed(download, server: Server) -> None:
    with pytest.raises(FileError, match=r"/model is not https"):
        fetched(replace(download("/model"), schemes=("https",)))
    assert server.asked == []


def test_a_server_that_is_not_there_is_one_line(download) -> None:
    gone = replace(download("/model"), url="http://127.0.0.1:9/model")
    with pytest.raises(FileError, match=r"^the face detector could not be fetched from \S+: .*refused; give a copy"):
        cached(gone)


@pytest.mark.parametrize("damaged", [b"", DATA[:-1], DATA + b"!", bytes(len(DATA))])
def test_a_damaged_file_of_the_cache_is_fetched_again(damaged: bytes, download, server: Server, tmp_path: Path) -> None:
    path = tmp_path / "cache" / "motivnet" / "model.onnx"
    path.parent.mkdir(parents=True)
    path.write_bytes(damaged)
    assert cached(download("/model")) == DATA
    assert path.read_bytes() == DATA
    assert server.asked == ["/model"]


def test_a_link_in_the_cache_is_replaced_and_not_followed(download, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"mine")
    path = tmp_path / "cache" / "motivnet" / "model.onnx"
    path.parent.mkdir(parents=True)
    path.symlink_to(elsewhere)
    assert cached(download("/model")) == DATA
    assert not path.is_symlink()
    assert elsewhere.read_bytes() == b"mine"


def test_a_cache_that_cannot_be_written_is_a_warning(
    download, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file where the folder would be")
    assert cached(download("/model")) == DATA
    assert "could not be kept in the cache" in caplog.text


def test_two_processes_at_once_both_have_it(download, server: Server, tmp_path: Path) -> None:
    wanted = download("/model")
    with multiprocessing.get_context("spawn").Pool(2) as processes:
        assert processes.map(cached, [wanted, wanted], chunksize=1) == [DATA, DATA]
    assert (tmp_path / "cache" / "motivnet" / "model.onnx").read_bytes() == DATA
    assert [path.name for path in (tmp_path / "cache" / "motivnet").iterdir()] == ["model.onnx"]


def test_another_model_is_refused_before_anything_parses_it(tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(bytes(YUNET.size))
    with pytest.raises(FileError, match=rf"other.onnx is not {YUNET.name} \(SHA-256 {YUNET.sha256}\); get it from"):
        yunet_model(other)


def test_a_detector_file_that_is_missing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"none\.onnx does not exist"):
        yunet_model(tmp_path / "none.onnx")


def test_the_address_is_of_one_commit_and_over_https() -> None:
    assert YUNET.schemes == ("https",)
    assert YUNET.url.startswith(
        "https://media.githubusercontent.com/media/opencv/opencv_zoo/f12e12798e8314f7c074a66568"
    )


@pytest.mark.shared
def test_the_pinned_hash_is_that_of_the_model(yunet_file: Path) -> None:
    assert yunet_model(yunet_file) == yunet_file.read_bytes()
    assert len(yunet_file.read_bytes()) == YUNET.size


@pytest.mark.shared
def test_a_file_of_the_cache_is_used_without_a_network(
    yunet_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(weights, "fetched", lambda _: pytest.fail("the network was asked"))
    (tmp_path / "motivnet").mkdir()
    (tmp_path / "motivnet" / YUNET.name).write_bytes(yunet_file.read_bytes())
    assert yunet_model() == yunet_file.read_bytes()

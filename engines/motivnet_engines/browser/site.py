"""The folder of a model over HTTP on this machine, with the headers that a page needs.

Browsers let a page compute a hash, use a camera and share memory between threads only over https or
on the machine itself. So the server listens to this machine alone; for others, the folder goes to
any static host.
"""

from __future__ import annotations

import contextlib
import errno
import http.server
import threading
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from motivnet.errors import ConfigError, FileError
from motivnet.files import read_bytes
from motivnet_engines.browser.folder import files_of

HEADERS = {
    # Together: the page is cross-origin isolated, and WebAssembly may use threads.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; "
        "connect-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
        "style-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # The service worker keeps the files for use offline; a new build must be seen at once.
    "Cache-Control": "no-cache",
}

BLANK = "blank"
"""A page without content, from which ``motivnet verify`` imports the library."""

_ADDRESS = "127.0.0.1"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
}
_BLANK_PAGE = b"<!doctype html><html lang='en'><title>motivnet</title></html>"


class Site:
    """A server of one folder: a context manager that listens until the end of the block.

    Only what ``motivnet.json`` names is served; ``/`` is the page.

    Args:
        folder: The folder, whose description is read once.
        port: The port on this machine; 0 chooses a free one.

    Raises:
        ArtifactError, RuntimeUnavailableError: If it is not a folder for the browser.
        ConfigError: If the port is taken.
    """

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        files = files_of(folder)
        handler = type("_Folder", (_Handler,), {"folder": folder, "files": files})
        try:
            self._server = http.server.ThreadingHTTPServer((_ADDRESS, port), handler)
        except OSError as error:
            reason = "is in use" if error.errno == errno.EADDRINUSE else str(error.strerror)
            raise ConfigError(f"port {port} {reason}; choose another with --port") from error
        self.url = f"http://{_ADDRESS}:{self._server.server_address[1]}/"

    def run(self) -> None:
        """Serve until Ctrl-C."""
        with contextlib.suppress(KeyboardInterrupt):
            self._server.serve_forever()

    @contextlib.contextmanager
    def in_background(self) -> Iterator[Site]:
        """Serve in another thread until the end of the block."""
        thread = threading.Thread(target=self._server.serve_forever, name="motivnet-site")
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()

    def close(self) -> None:
        """Free the port; a second call does nothing."""
        self._server.server_close()

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Handler(http.server.BaseHTTPRequestHandler):
    folder: Path
    files: frozenset[str]
    protocol_version = "HTTP/1.1"
    server_version = "motivnet"
    sys_version = ""
    timeout = 30  # seconds that a connection may be idle

    def do_GET(self) -> None:
        """Answer with a file."""
        self._answer(with_content=True)

    def do_HEAD(self) -> None:
        """Answer with the headers of a file."""
        self._answer(with_content=False)

    def log_message(self, *_: object) -> None:
        """Say nothing: which pictures are looked at is nobody's business."""

    def _answer(self, *, with_content: bool) -> None:
        name = unquote(urlsplit(self.path).path).removeprefix("/") or "index.html"
        status, kind, content = self._content(name)
        self.send_response(status)
        for header, value in HEADERS.items():
            self.send_header(header, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_content:
            # The browser may have gone.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(content)

    def _content(self, name: str) -> tuple[HTTPStatus, str, bytes]:
        """Return status, type and bytes; no path that is not in the description is opened."""
        if name == BLANK:
            return HTTPStatus.OK, _TYPES[".html"], _BLANK_PAGE
        if name in self.files and ".." not in PurePosixPath(name).parts:
            with contextlib.suppress(FileError):
                content = read_bytes(self.folder / name)
                kind = _TYPES.get(PurePosixPath(name).suffix, "application/octet-stream")
                return HTTPStatus.OK, kind, content
        return HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"there is no such file\n"

"""A static server over a folder: with the headers that isolate a page, or without any."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
TYPES = {
    ".mjs": "text/javascript",
    ".js": "text/javascript",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
}


@dataclass(slots=True, kw_only=True)
class StaticServer:
    """Where it listens, and the paths that it was asked for."""

    url: str
    asked: list[str] = field(default_factory=list)


class _Handler(http.server.SimpleHTTPRequestHandler):
    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | TYPES
    asked: list[str]
    headers_of_answers: dict[str, str]

    def end_headers(self) -> None:
        self.asked.append(self.path)
        for name, value in {"Cache-Control": "no-cache", **self.headers_of_answers}.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def static_server(
    folder: Path, *, isolated: bool = True, port: int = 0
) -> Iterator[StaticServer]:
    """Serve a folder until the end of the block."""
    asked: list[str] = []
    handler = type(
        "Handler",
        (_Handler,),
        {"asked": asked, "headers_of_answers": ISOLATION if isolated else {}},
    )
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", port), functools.partial(handler, directory=str(folder))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield StaticServer(url=f"http://127.0.0.1:{server.server_port}/", asked=asked)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

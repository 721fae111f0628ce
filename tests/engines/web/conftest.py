"""The folder of a tiny model for the browser, a static server over it,
and Chromium.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

from motivnet.artifact import open_artifact
from motivnet.synthetic import draw_face
from motivnet_export.request import BuildRequest
from motivnet_export.web import RUNTIME, VERSION, build_for_browsers, write_web_folder


def runtime_package() -> Path:
    """npm's package of ONNX Runtime Web, fetched once."""
    name = f"{RUNTIME}-{VERSION}.tgz"
    if given := os.environ.get("MOTIVNET_ONNXRUNTIME_WEB"):
        return Path(given)
    package = Path.home() / ".cache" / "motivnet-tests" / name
    if not package.is_file():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip(f"needs npm to fetch {name}, or MOTIVNET_ONNXRUNTIME_WEB=FILE")
        package.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=package.parent) as folder:
            command = [npm, "pack", "--silent", f"{RUNTIME}@{VERSION}"]
            if subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode:
                pytest.skip(f"npm cannot fetch {name}")
            (Path(folder) / name).replace(package)
    return package


def make_web_folder(artifact: Path, out: Path, *, webgpu: bool = False) -> Path:
    """Write what a browser needs of an FP32 artifact."""
    return write_web_folder(open_artifact(artifact), out, package=runtime_package(), webgpu=webgpu)


def describe(folder: Path, description: dict[str, object]) -> None:
    """Write motivnet.json with the hashes of the files as they are now, and its version."""
    own = {"motivnet.json", "version.js", "manifest.json"}
    files = {
        file.relative_to(folder).as_posix(): {
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "bytes": file.stat().st_size,
        }
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name not in own
    }
    text = json.dumps({**description, "files": files}, indent=2)
    (folder / "motivnet.json").write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    (folder / "version.js").write_text(f'self.VERSION = "{digest}";\n')


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
def static_server(folder: Path, *, isolated: bool = True, port: int = 0) -> Iterator[StaticServer]:
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


@pytest.fixture(scope="session")
def web_folder(tmp_path_factory: pytest.TempPathFactory, fp32_artifact: Path) -> Path:
    """A tiny model for the browser; for reading only."""
    folder = make_web_folder(fp32_artifact, tmp_path_factory.mktemp("web") / "tiny")
    (folder / "blank.html").write_text("<!doctype html><title>Blank</title>")
    return folder


@pytest.fixture(scope="session")
def fp16_web_folder(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Path:
    out = tmp_path_factory.mktemp("web") / "fp16"
    request = BuildRequest(checkpoint=tiny_checkpoint, out=out, precision="fp16", num_images=4)
    return build_for_browsers(request, runtime_package(), on_message=print)


@pytest.fixture
def own_folder(web_folder: Path, tmp_path: Path) -> Path:
    """A copy of the folder, to be damaged."""
    return Path(shutil.copytree(web_folder, tmp_path / "own"))


@pytest.fixture
def redescribed() -> Callable[..., None]:
    """A function that changes motivnet.json of a folder, and its hashes with the files."""

    def changed(folder: Path, **changes: Any) -> None:
        describe(folder, {**json.loads((folder / "motivnet.json").read_text()), **changes})

    return changed


@pytest.fixture
def serve_folder() -> Callable[..., AbstractContextManager[StaticServer]]:
    return static_server


@pytest.fixture(scope="module")
def server(web_folder: Path) -> Iterator[StaticServer]:
    with static_server(web_folder) as running:
        yield running


def chromium() -> str:
    path = shutil.which("chromium")
    if path is None and os.environ.get("CI"):
        pytest.fail("the library is tested in Chromium: apt-get install chromium")
    if path is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    return path


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    chromium()
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def launch(playwright: Playwright) -> Iterator[Callable[..., Browser]]:
    """A function that starts a browser with more options of its command line."""
    browsers: list[Browser] = []

    def launched(*options: str) -> Browser:
        # Chromium's own sandbox does not run as root.
        browsers.append(
            playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", *options])
        )
        return browsers[-1]

    yield launched
    for browser in browsers:
        browser.close()


@pytest.fixture(scope="module")
def browser(launch: Callable[..., Browser], tmp_path_factory: pytest.TempPathFactory) -> Browser:
    """A browser whose camera sees two drawn faces."""
    video = video_file(tmp_path_factory.mktemp("camera") / "camera.y4m", drawn_faces())
    return launch(
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={video}",
    )


@pytest.fixture
def open_tab(browser: Browser) -> Iterator[Callable[..., Page]]:
    """A function that opens an address; at the end no script may have failed."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def opened(url: str, *, script: str = "", browser: Browser = browser, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1100, "height": 800}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("console", lambda message: complaints.extend(_complaint(message.text)))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.add_init_script(script)
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def _complaint(text: str) -> list[str]:
    # That a file is not there is what some of these tests are about.
    return [] if text.startswith("Failed to load resource") else [text]


def drawn_faces() -> NDArray[np.uint8]:
    """Two drawn faces beside each other, ``(480, 640, 3)``."""
    canvas = np.full((480, 640, 3), 255, np.uint8)
    for column, (emotion, seed) in enumerate((("happiness", 1), ("anger", 12))):
        face = draw_face(emotion, seed=seed, size=(400, 300))
        canvas[40:440, 10 + 320 * column : 310 + 320 * column] = face
    return canvas


def video_file(path: Path, frame: NDArray[np.uint8]) -> Path:
    """What Chromium's fake camera shows: one picture, as YUV4MPEG2."""
    height, width = frame.shape[:2]
    head = f"YUV4MPEG2 W{width} H{height} F30:1 Ip A1:1 C420jpeg\n".encode()
    path.write_bytes(
        head + (b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420).tobytes()) * 3
    )
    return path

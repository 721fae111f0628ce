"""A service over a fake runtime in a thread, and Debian's Chromium with a page open on it.

Playwright keeps an event loop in this thread for as long as it runs, beside which no test could use
``asyncio.run``: it is stopped at the end of each module.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import uvicorn
from numpy.typing import NDArray
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Playwright,
    Request,
    expect,
    sync_playwright,
)

from motivnet.prediction import Box
from motivnet_engines.faces.detector import Face
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.runtimes.fake import FakeRuntime, fake_manifest
from motivnet_engines.serving.http.app import create_app
from motivnet_engines.serving.settings import ServeSettings

PageOpener = Callable[..., Page]
Painter = Callable[..., Path]

CAMERA_BOX = (100, 120, 200, 240)
PATIENCE_MS = 20_000
FAKE_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


class PatchDetector:
    """Takes every patch on a white ground for a face.

    A picture with a patch is held up for as long as ``free`` is not set; ``called`` is set by the
    first picture.
    """

    def __init__(self) -> None:
        self.called = threading.Event()
        self.free = threading.Event()
        self.free.set()

    def detect(self, pixels: NDArray[np.uint8]) -> tuple[Face, ...]:
        self.called.set()
        dark = (pixels.min(axis=2) < 200).astype(np.uint8)
        if dark.any():
            self.free.wait(30)
        count, _, patches, _ = cv2.connectedComponentsWithStats(dark)
        boxes = [
            Box(x=x, y=y, width=w, height=h) for x, y, w, h, _ in patches[1:count].tolist() if w > 8
        ]
        largest_first = sorted(boxes, key=lambda box: -box.width * box.height)
        return tuple(Face(box=box, score=0.9) for box in largest_first)


@dataclass(slots=True, kw_only=True)
class Service:
    """A running service, and how it is held up and ended."""

    url: str
    port: int
    detector: PatchDetector
    server: uvicorn.Server
    thread: threading.Thread

    def stop(self) -> None:
        self.detector.free.set()
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive()


def started_service(*, port: int = 0, **settings: Any) -> Service:
    manifest, detector = fake_manifest(), PatchDetector()
    classifier = EmotionClassifier(FakeRuntime(manifest), manifest, detector=detector)
    app = create_app(classifier, ServeSettings(prepare_threads=2, **settings))
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    return Service(
        url=f"http://127.0.0.1:{port}/", port=port, detector=detector, server=server, thread=thread
    )


@pytest.fixture
def serve() -> Iterator[Callable[..., Service]]:
    """A function that starts a service with these settings."""
    running: list[Service] = []

    def started(**settings: Any) -> Service:
        running.append(started_service(**settings))
        return running[-1]

    yield started
    for service in running:
        service.stop()


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    running = started_service()
    yield running
    running.stop()


def painted(
    *boxes: tuple[int, int, int, int], size: tuple[int, int] = (640, 480)
) -> NDArray[np.uint8]:
    """A white picture of (width, height) with a patch in each box (x, y, width, height)."""
    pixels = np.full((size[1], size[0], 3), 255, np.uint8)
    for index, (x, y, width, height) in enumerate(boxes):
        pixels[y : y + height, x : x + width] = (150, 60 + 40 * index, 40)
    return pixels


@pytest.fixture
def paint(tmp_path: Path) -> Painter:
    """A function that writes a picture with a patch, the service's face, in each box."""

    def written(
        *boxes: tuple[int, int, int, int], name: str = "picture.png", **options: tuple[int, int]
    ) -> Path:
        assert cv2.imwrite(str(tmp_path / name), painted(*boxes, **options)[..., ::-1])
        return tmp_path / name

    return written


def chromium() -> str:
    path = shutil.which("chromium")
    if path is None and os.environ.get("CI"):
        pytest.fail("the page is tested in Chromium: apt-get install chromium")
    if path is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    return path


def video_file(path: Path, frame: NDArray[np.uint8]) -> Path:
    """What Chromium's fake camera shows: one picture, as YUV4MPEG2."""
    height, width = frame.shape[:2]
    head = f"YUV4MPEG2 W{width} H{height} F30:1 Ip A1:1 C420jpeg\n".encode()
    path.write_bytes(
        head + (b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420).tobytes()) * 3
    )
    return path


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    chromium()
    expect.set_options(timeout=PATIENCE_MS)
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
    """A browser whose camera sees one face, left of the middle."""
    video = video_file(tmp_path_factory.mktemp("camera") / "camera.y4m", painted(CAMERA_BOX))
    return launch(*FAKE_CAMERA, f"--use-file-for-fake-video-capture={video}")


@pytest.fixture
def open_page(request: pytest.FixtureRequest) -> Iterator[PageOpener]:
    """A function that opens the page of a service; at the end nothing may have gone wrong in the
    browser.

    That is: no error of a script, no word in the console (a style or script that the policy refuses
    is one), and no request to anywhere but the service.
    """
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def opened(
        service: Service, *, browser: Browser | None = None, script: str = "", **options: Any
    ) -> Page:
        browser = browser or request.getfixturevalue("browser")
        context = browser.new_context(**{"viewport": {"width": 1100, "height": 800}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda message: complaints.extend(_complaint(message)))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("request", lambda sent: complaints.extend(_foreign(sent, service.url)))
        page.add_init_script(script)
        page.goto(service.url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def page(service: Service, open_page: PageOpener) -> Page:
    """The page of a service that everybody on this machine may use."""
    return open_page(service)


def _complaint(message: ConsoleMessage) -> list[str]:
    # That an answer has an error status, or that there is none, is what some of these tests are
    # about.
    return (
        []
        if message.text.startswith("Failed to load resource")
        else [f"{message.type}: {message.text}"]
    )


def _foreign(request: Request, url: str) -> list[str]:
    own = request.url.startswith((url, f"blob:{url}", "data:"))
    return [] if own else [f"request: {request.url}"]

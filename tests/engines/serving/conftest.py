"""Applications over a runtime without a model, and the photos that they get."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from starlette.applications import Starlette

from motivnet.artifact.manifest import Manifest
from motivnet.runtime import Arrays
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.runtimes.fake import FakeRuntime, fake_manifest
from motivnet_engines.serving.batching import Batching
from motivnet_engines.serving.http.app import create_app
from motivnet_engines.serving.settings import ServeSettings

AppMaker = Callable[..., Starlette]


class HeldRuntime(FakeRuntime):
    """Answers only while ``gate`` is set; ``entered`` is set by the first call."""

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest)
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.fails = False

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        outputs = super().run(inputs)
        self.entered.set()
        self.gate.wait()
        if self.fails:
            outputs["logits"][:] = np.nan
        return outputs


class Client:
    """An ``httpx`` client of an application, without a network, always on one event loop."""

    def __init__(self, app: Starlette) -> None:
        self.app = app
        self._runner = asyncio.Runner()
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._http = httpx.AsyncClient(transport=transport, base_url="http://localhost:8000")

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._runner.run(self._http.request(method, path, **options))

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def predict(
        self, body: Any = None, *, headers: dict[str, str] | None = None, **options: Any
    ) -> httpx.Response:
        if body is not None:
            headers = {"Content-Type": "image/jpeg", **(headers or {})}
        return self.request("POST", "/v1/predict", content=body, headers=headers, **options)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(work)

    def close(self) -> None:
        self._runner.close()


def encoded(pixels: NDArray[np.uint8], kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def unique_photo() -> Callable[[int], bytes]:
    """A function that gives a small picture of a colour that no other number has."""

    def made(number: int) -> bytes:
        colour = (number % 251, number // 251 % 251, number // 63_001 % 251)
        return encoded(np.full((12, 10, 3), colour, np.uint8))

    return made


@pytest.fixture
def photo(unique_photo: Callable[[int], bytes]) -> bytes:
    return unique_photo(12_345)


@pytest.fixture
def runtime() -> HeldRuntime:
    return HeldRuntime(fake_manifest())


@pytest.fixture
def classifier(runtime: HeldRuntime) -> EmotionClassifier:
    return EmotionClassifier(runtime, fake_manifest())


@pytest.fixture
def make_app(classifier: EmotionClassifier) -> Iterator[AppMaker]:
    """A function that gives an application with these settings."""
    apps: list[Starlette] = []

    def made(*, batching: Batching | None = None, **changes: Any) -> Starlette:
        apps.append(
            create_app(classifier, ServeSettings(**changes), name="fake", batching=batching)
        )
        return apps[-1]

    yield made
    for app in apps:
        app.state.service.close()


@pytest.fixture
def make_client(make_app: AppMaker) -> Iterator[Callable[..., Client]]:
    """A function that gives a client of an application with these settings."""
    clients: list[Client] = []

    def made(**options: Any) -> Client:
        clients.append(Client(make_app(**options)))
        return clients[-1]

    yield made
    for client in clients:
        client.close()


@pytest.fixture
def client(make_client: Callable[..., Client]) -> Client:
    return make_client()

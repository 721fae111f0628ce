from __future__ import annotations

import asyncio
import io
import threading
import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from motivnet_engines.faces.detector import Face
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.runtimes.fake import fake_manifest
from motivnet_engines.serving.batching import Batching
from motivnet_engines.serving.metrics import Metrics
from motivnet_engines.serving.refusals import RefusedError
from motivnet_engines.serving.service import PredictionService
from motivnet_engines.serving.settings import ServeSettings
from motivnet_engines.serving.uploads import BodyType

TWENTY_MEGAPIXELS = (5000, 4000)


class Counting:
    """Finds no face, and counts how many pixels are looked at at once."""

    def __init__(self) -> None:
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()

    def detect(self, pixels: NDArray[np.uint8]) -> tuple[Face, ...]:
        size = pixels.shape[0] * pixels.shape[1]
        with self._lock:
            self._now += size
            self.most = max(self.most, self._now)
        time.sleep(0.1)
        with self._lock:
            self._now -= size
        return ()


def large_form(count: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("1", TWENTY_MEGAPIXELS).save(buffer, "PNG")
    part = (
        b'--b\r\nContent-Disposition: form-data; name="a"; filename="a.png"\r\n\r\n'
        + buffer.getvalue()
        + b"\r\n"
    )
    return part * count + b"--b--\r\n"


def test_no_more_pixels_are_decoded_at_once_than_the_largest_image_has(runtime: Any) -> None:
    detector = Counting()
    classifier = EmotionClassifier(runtime, fake_manifest(), detector=detector)
    settings = ServeSettings(prepare_threads=4)

    async def ask() -> Any:
        service = PredictionService(classifier, settings, batching=Batching(), metrics=Metrics())
        answer = await service.predict(
            large_form(6), BodyType(boundary=b"b"), deadline=time.monotonic() + 60
        )
        assert service.close(timeout=10)
        return answer

    assert len(asyncio.run(ask())["images"]) == 6
    assert detector.most <= 40_000_000


class InOrder:
    """Finds no face; keeps the width of each image in the order in which they were looked at."""

    def __init__(self) -> None:
        self.widths: list[int] = []

    def detect(self, pixels: NDArray[np.uint8]) -> tuple[Face, ...]:
        self.widths.append(pixels.shape[1])
        time.sleep(0.02)
        return ()


def test_an_honest_image_comes_before_the_rest_of_a_form_of_large_ones(
    runtime: Any, photo: bytes
) -> None:
    detector = InOrder()
    classifier = EmotionClassifier(runtime, fake_manifest(), detector=detector)

    async def ask() -> None:
        service = PredictionService(
            classifier, ServeSettings(prepare_threads=1), batching=Batching(), metrics=Metrics()
        )
        deadline = time.monotonic() + 60
        form = asyncio.ensure_future(
            service.predict(large_form(6), BodyType(boundary=b"b"), deadline=deadline)
        )
        while not detector.widths:
            await asyncio.sleep(0.005)
        await service.predict(photo, BodyType(), deadline=deadline)
        assert 1 <= len(detector.widths) - 1 <= 2
        await form
        assert service.close(timeout=10)

    asyncio.run(ask())
    assert len(detector.widths) == 7


def test_images_whose_headers_cannot_be_read_take_no_turn(runtime: Any, photo: bytes) -> None:
    classifier = EmotionClassifier(runtime, fake_manifest())
    parts = [
        b'--b\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n' + data + b"\r\n"
        for data in (b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0/\xb3X-\x16" + bytes(9), photo)
    ]

    async def ask() -> Any:
        service = PredictionService(
            classifier, ServeSettings(), batching=Batching(), metrics=Metrics()
        )
        body = b"".join(parts) + b"--b--\r\n"
        answer = await service.predict(
            body, BodyType(boundary=b"b"), deadline=time.monotonic() + 60
        )
        assert service.close(timeout=10)
        return answer["images"]

    bad, good = asyncio.run(ask())
    assert (bad["error"]["code"], good["error"]) == ("bad_image", None)


def test_closing_tells_of_a_call_that_is_under_way(runtime: Any, photo: bytes) -> None:
    classifier = EmotionClassifier(runtime, fake_manifest())

    async def ask() -> None:
        service = PredictionService(
            classifier, ServeSettings(), batching=Batching(), metrics=Metrics()
        )
        runtime.gate.clear()
        with pytest.raises(RefusedError, match="deadline"):
            await service.predict(photo, BodyType(), deadline=time.monotonic() + 0.1)
        assert not service.close(timeout=0.05)
        runtime.gate.set()
        assert service.close(timeout=10)

    asyncio.run(ask())

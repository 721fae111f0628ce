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

from motivnet_engines.classifier import EmotionClassifier
from motivnet_engines.faces.detector import Face
from motivnet_engines.fake import fake_manifest
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
    part = b'--b\r\nContent-Disposition: form-data; name="a"; filename="a.png"\r\n\r\n' + buffer.getvalue() + b"\r\n"
    return part * count + b"--b--\r\n"


def test_no_more_pixels_are_decoded_at_once_than_the_largest_image_has(runtime: Any) -> None:
    detector = Counting()
    classifier = EmotionClassifier(runtime, fake_manifest(), detector=detector)
    settings = ServeSettings(prepare_threads=4)

    async def ask() -> Any:
        service = PredictionService(classifier, settings, batching=Batching(), metrics=Metrics())
        answer = await service.predict(large_form(6), BodyType(boundary=b"b"), deadline=time.monotonic() + 60)
        assert service.close(timeout=10)
        return answer

    assert len(asyncio.run(ask())["images"]) == 6
    assert detector.most <= 40_000_000


def test_closing_tells_of_a_call_that_is_under_way(runtime: Any, photo: bytes) -> None:
    classifier = EmotionClassifier(runtime, fake_manifest())

    async def ask() -> None:
        service = PredictionService(classifier, ServeSettings(), batching=Batching(), metrics=Metrics())
        runtime.gate.clear()
        with pytest.raises(RefusedError, match="deadline"):
            await service.predict(photo, BodyType(), deadline=time.monotonic() + 0.1)
        assert not service.close(timeout=0.05)
        runtime.gate.set()
        assert service.close(timeout=10)

    asyncio.run(ask())

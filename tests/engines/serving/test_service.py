from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from motivnet.errors import ImageError
from motivnet_engines.faces.detector import Face
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.runtimes.fake import fake_manifest
from motivnet_engines.serving.batching import Batching, LateError
from motivnet_engines.serving.metrics import Metrics
from motivnet_engines.serving.request_queue import image_cost
from motivnet_engines.serving.service import PredictionService, Upload, describe_model
from motivnet_engines.serving.settings import ServeSettings

TWENTY_MEGAPIXELS = (5000, 4000)


def service_of(runtime: Any, *, detector: Any = None, **changes: Any) -> PredictionService:
    classifier = EmotionClassifier(runtime, fake_manifest(), detector=detector)
    return PredictionService(
        classifier, ServeSettings(**changes), batching=Batching(), metrics=Metrics()
    )


def far() -> float:
    return time.monotonic() + 60


def large_images(count: int) -> list[Upload]:
    buffer = io.BytesIO()
    Image.new("1", TWENTY_MEGAPIXELS).save(buffer, "PNG")
    return [Upload(data=buffer.getvalue())] * count


@pytest.mark.parametrize(
    ("size", "form", "changes", "message"),
    [
        (
            (30, 20),
            "PNG",
            {"max_pixels": 599},
            r"exceeds 599 pixels or 16,384 .*; make it smaller$",
        ),
        ((30, 20), "PNG", {"max_side": 29}, r"exceeds 40 million pixels or 29 pixels per side"),
        ((16_385, 1), "PNG", {}, "exceeds 40 million pixels or 16,384 pixels per side"),
        ((64, 64), "AVIF", {}, "is an AVIF image, which is not read; convert it to JPEG or PNG$"),
    ],
)
def test_the_limits_of_an_image_are_those_of_the_service(
    runtime: Any, size: tuple[int, int], form: str, changes: dict[str, int], message: str
) -> None:
    buffer = io.BytesIO()
    Image.new("L", size).save(buffer, form)
    service = service_of(runtime, **changes)
    with pytest.raises(ImageError, match=message):
        asyncio.run(service.predict([Upload(data=buffer.getvalue())], deadline=far()))
    service.close()


class Gate:
    """Finds no face; keeps the images, whose widths are in ``seen``, until ``open`` is called."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.most = 0
        self.entered = threading.Semaphore(0)
        self._left = threading.Semaphore(0)
        self._pixels = 0
        self._lock = threading.Lock()

    def detect(self, pixels: NDArray[np.uint8]) -> tuple[Face, ...]:
        size = pixels.shape[0] * pixels.shape[1]
        with self._lock:
            self.seen.append(pixels.shape[1])
            self._pixels += size
            self.most = max(self.most, self._pixels)
        self.entered.release()
        assert self._left.acquire(timeout=30)
        with self._lock:
            self._pixels -= size
        return ()

    def open(self, count: int = 100) -> None:
        self._left.release(count)


def test_no_more_pixels_are_decoded_at_once_than_the_largest_image_has(runtime: Any) -> None:
    gate = Gate()

    async def scenario() -> None:
        service = service_of(runtime, detector=gate, prepare_threads=4)
        answer = asyncio.ensure_future(service.predict(large_images(6), deadline=far()))
        for _ in range(2):
            await asyncio.to_thread(gate.entered.acquire)
        assert len(service.queue._slots) == 4  # of six images two are in work
        gate.open()
        assert len((await answer).images) == 6
        assert service.close(timeout=10)

    asyncio.run(scenario())
    assert gate.most == 40_000_000


def test_an_image_comes_before_the_rest_of_another_requests_large_ones(
    runtime: Any, photo: bytes
) -> None:
    gate = Gate()

    async def scenario() -> None:
        service = service_of(runtime, detector=gate, prepare_threads=1)
        form = asyncio.ensure_future(service.predict(large_images(4), deadline=far()))
        await asyncio.to_thread(gate.entered.acquire)
        single = asyncio.ensure_future(service.predict([Upload(data=photo)], deadline=far()))
        while service.queue.size < 2 or len(service.queue._slots) < 4:
            await asyncio.sleep(0)
        gate.open()
        await asyncio.gather(form, single)
        assert service.close(timeout=10)

    asyncio.run(scenario())
    assert gate.seen == [5000, 10, 5000, 5000, 5000]


@pytest.mark.parametrize("broken", [False, True])
def test_an_image_that_is_done_or_broken_gives_back_its_time(broken: bool, runtime: Any) -> None:
    gate = Gate()
    first, second = large_images(2)
    if broken:
        first = Upload(data=first.data[: len(first.data) // 2])

    async def scenario() -> None:
        service = service_of(runtime, detector=gate, prepare_threads=1)
        form = asyncio.ensure_future(service.predict([first, second], deadline=far()))
        both = 2 * image_cost(5000 * 4000, 0.0)
        await asyncio.to_thread(gate.entered.acquire)
        [entry] = service.queue._entries
        if not broken:
            assert entry.cost == pytest.approx(both)
            gate.open(1)
            await asyncio.to_thread(gate.entered.acquire)
        for _ in range(1000):  # the first is done, but its task may not have run yet
            await asyncio.sleep(0)
        assert entry.cost == pytest.approx(both / 2)
        gate.open()
        await form
        assert service.close(timeout=10)

    asyncio.run(scenario())


def test_images_whose_headers_cannot_be_read_have_an_error_of_their_own(
    runtime: Any, photo: bytes
) -> None:
    bad = b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0/\xb3X-\x16" + bytes(9)

    async def scenario() -> None:
        service = service_of(runtime)
        uploads = [Upload(data=bad), Upload(data=photo)]
        broken, good = (await service.predict(uploads, deadline=far())).images
        assert (broken.error and broken.error.code, good.error) == ("bad_image", None)
        with pytest.raises(ImageError, match="image 1 "):
            await service.predict([uploads[0]] * 2, deadline=far())
        assert service.close(timeout=10)

    asyncio.run(scenario())


def test_a_request_that_is_late_leaves_no_work_behind(
    runtime: Any, photo: bytes, unique_photo: Callable[[int], bytes]
) -> None:
    async def scenario() -> None:
        service = service_of(runtime)
        with pytest.raises(LateError):
            await service.predict([Upload(data=photo)], deadline=time.monotonic() - 1)
        assert runtime.calls == []
        assert (service.queue.size, service.queue._slots) == (0, [])
        await service.predict([Upload(data=unique_photo(1))], deadline=far())
        assert service.close(timeout=10)

    asyncio.run(scenario())


def test_what_is_late_before_its_turn_is_not_run(runtime: Any, photo: bytes) -> None:
    async def scenario() -> None:
        service = service_of(runtime)
        runtime.gate.clear()
        first = asyncio.ensure_future(service.predict([Upload(data=photo)], deadline=far()))
        while not runtime.calls:
            await asyncio.sleep(0.001)
        for _ in range(3):
            with pytest.raises(LateError):
                await service.predict([Upload(data=photo)], deadline=time.monotonic() + 0.02)
        runtime.gate.set()
        await first
        await service.predict([Upload(data=photo)], deadline=far())
        assert len(runtime.calls) == 2
        assert service.close(timeout=10)

    asyncio.run(scenario())


class TimedOut:
    """A detector that asks another machine, which does not answer."""

    def detect(self, pixels: NDArray[np.uint8]) -> tuple[Face, ...]:
        raise TimeoutError("no answer")


def test_a_timeout_of_the_work_itself_stays_what_it_is(runtime: Any, photo: bytes) -> None:
    async def scenario() -> None:
        service = service_of(runtime, detector=TimedOut())
        with pytest.raises(TimeoutError, match="no answer"):
            await service.predict([Upload(data=photo)], deadline=far())
        assert service.close(timeout=10)

    asyncio.run(scenario())


def test_closing_tells_of_a_call_that_is_running(runtime: Any, photo: bytes) -> None:
    async def scenario() -> None:
        service = service_of(runtime)
        runtime.gate.clear()
        request = asyncio.ensure_future(service.predict([Upload(data=photo)], deadline=far()))
        assert await asyncio.to_thread(runtime.entered.wait, 60)
        request.cancel()
        assert not service.close()
        runtime.gate.set()
        assert service.close(timeout=10)

    asyncio.run(scenario())


@pytest.mark.parametrize("purpose", [None, "research on acted expressions"])
def test_the_service_says_what_its_artifact_is_for(runtime: Any, purpose: str | None) -> None:
    manifest = msgspec.structs.replace(fake_manifest(), purpose=purpose)
    with EmotionClassifier(runtime, manifest) as classifier:
        model = describe_model(classifier, ServeSettings(), name="demo", batching=Batching())
    assert model.purpose == purpose

"""From uploads to predictions: prepared by a few threads, classified by one, each within its request's deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from numpy.typing import NDArray

from motivnet.errors import ImageError, InputError
from motivnet.prediction import Prediction
from motivnet_engines.classifier import EmotionClassifier
from motivnet_engines.preparation import PreparedImage
from motivnet_engines.serving.batcher import Batcher, LateError
from motivnet_engines.serving.batching import Batching
from motivnet_engines.serving.metrics import Metrics
from motivnet_engines.serving.pending import Answered
from motivnet_engines.serving.refusals import RefusedError, error_body
from motivnet_engines.serving.settings import ServeSettings
from motivnet_engines.serving.uploads import BodyType, Upload, uploads_of_body

T = TypeVar("T")


class PredictionService:
    """Answers requests of any number of clients on one event loop, in bounded memory.

    Raw bodies wait; only as many images are prepared at a time as the threads and two batches need, because a prepared
    face takes more memory than its photo.
    """

    def __init__(
        self, classifier: EmotionClassifier, settings: ServeSettings, *, batching: Batching, metrics: Metrics
    ) -> None:
        self._classifier = classifier
        self._settings = settings
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(settings.prepare_threads, thread_name_prefix="prepare")
        self._in_work = asyncio.Semaphore(settings.prepare_threads + 2 * batching.max_size)
        self._batcher: Batcher[NDArray[Any], Prediction] = Batcher(
            classifier.classify,
            max_size=batching.max_size,
            max_delay=settings.max_delay_ms / 1e3,
            on_batch=metrics.batch,
        )
        metrics.watch("batch_queue_depth", "Faces that wait for a call of the runtime.", lambda: self._batcher.depth)

    async def predict(self, body: bytes, kind: BodyType, *, deadline: float) -> dict[str, Any]:
        """The answer to a request, as JSON values.

        Args:
            deadline: By ``time.monotonic``.

        Raises:
            RefusedError: If the body holds no image that can be read, or the deadline cannot be met.
            ArtifactError: If the model's outputs for an image cannot be used.
        """
        start = time.monotonic()
        try:
            async with asyncio.timeout(deadline - start):
                uploads = await self._in_thread(_uploads, body, kind, self._settings.max_images)
                found = await _all(asyncio.ensure_future(self._image(i, u, deadline)) for i, u in enumerate(uploads))
        except (LateError, TimeoutError) as error:
            raise RefusedError("late", "the answer would come after the deadline", retry_after=1) from error
        images = [image for image, _ in found]
        if all(image["error"] for image in images):
            raise RefusedError("bad_image", images[0]["error"]["message"])
        total = (time.monotonic() - start) * 1e3
        return {"images": images, "timing": {"queue_ms": max(wait for _, wait in found), "total_ms": total}}

    def close(self) -> None:
        """Takes nothing in any more; what is being run is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._batcher.close(timeout=0)

    async def _image(self, index: int, upload: Upload, deadline: float) -> tuple[dict[str, Any], float]:
        """The result of one image or its error, and how many milliseconds it waited for its turn."""
        start = time.monotonic()
        async with self._in_work:
            waited = (time.monotonic() - start) * 1e3
            try:
                prepared = await self._in_thread(self._prepare, index, upload, deadline)
            except (ImageError, InputError) as error:
                self._metrics.image(faces=0)
                return _failed(upload, str(error)), waited
            answers = await self._classified(prepared, deadline)
        waited += max((answer.waited_ms for answer in answers), default=0.0)
        self._measure(prepared, waited)
        return self._result(upload, prepared, answers), waited

    def _prepare(self, index: int, upload: Upload, deadline: float) -> PreparedImage:
        if time.monotonic() > deadline:
            raise LateError
        return self._classifier.prepare(upload.data, name=f"image {index + 1}")

    async def _classified(self, prepared: PreparedImage, deadline: float) -> list[Answered[Prediction]]:
        futures: list[Future[Answered[Prediction]]] = [
            self._batcher.submit(array, deadline=deadline) for array in prepared.inputs
        ]
        return await _all(asyncio.wrap_future(future) for future in futures)

    def _result(
        self, upload: Upload, prepared: PreparedImage, answers: Sequence[Answered[Prediction]]
    ) -> dict[str, Any]:
        classify_ms = max((answer.run_ms for answer in answers), default=0.0)
        predictions = [answer.answer for answer in answers]
        result = self._classifier.result(prepared, predictions, classify_ms=classify_ms).to_dict()
        return {**result, "name": upload.name, "error": None}

    def _measure(self, prepared: PreparedImage, waited_ms: float) -> None:
        self._metrics.image(faces=len(prepared.inputs))
        self._metrics.took("queue", waited_ms / 1e3)
        self._metrics.took("prepare", prepared.prepare_ms / 1e3)

    async def _in_thread(self, function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)


def _uploads(body: bytes, kind: BodyType, max_images: int) -> list[Upload]:
    return uploads_of_body(body, kind, max_images=max_images)


def _failed(upload: Upload, message: str) -> dict[str, Any]:
    """An image of several that could not be read."""
    return {
        "name": upload.name,
        "width": None,
        "height": None,
        "faces": [],
        "timing": None,
        **error_body("bad_image", message),
    }


async def _all(awaitables: Iterable[asyncio.Future[T]]) -> list[T]:
    """Every result in order; where one fails the others are cancelled, so that nothing is run for nobody."""
    futures = list(awaitables)
    try:
        return await asyncio.gather(*futures)
    except BaseException:
        for future in futures:
            future.cancel()
        raise

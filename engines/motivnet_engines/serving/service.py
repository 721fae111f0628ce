"""From uploads to predictions: prepared by a few threads, classified by one, each within its request's deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for_futures
from dataclasses import dataclass
from typing import Any, TypeVar

from numpy.typing import NDArray

from motivnet.errors import ImageError, InputError
from motivnet.images import MAX_PIXELS, image_size
from motivnet.prediction import Prediction
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.inference.preparation import PreparedImage, prepared_image
from motivnet_engines.runtimes.inputs import profile_of
from motivnet_engines.serving.admission import Place
from motivnet_engines.serving.batcher import Batcher, LateError
from motivnet_engines.serving.batching import Batching
from motivnet_engines.serving.largest_faces import LargestFaces
from motivnet_engines.serving.metrics import Metrics
from motivnet_engines.serving.pending import Answered
from motivnet_engines.serving.refusals import RefusedError, error_body
from motivnet_engines.serving.settings import ServeSettings
from motivnet_engines.serving.turns import Share, Turns, weight_of
from motivnet_engines.serving.uploads import BodyType, Upload, uploads_of_body

T = TypeVar("T")


class PredictionService:
    """Answers requests of any number of clients on one event loop, in bounded memory.

    Raw bodies wait; only as many images are prepared at a time as the threads and two batches need,
    because a prepared face takes more memory than its photo. Those above four megapixels have
    together no more pixels than the largest image allowed. What the images of a request cost is
    known from their headers before the first is decoded.
    """

    def __init__(
        self,
        classifier: EmotionClassifier,
        settings: ServeSettings,
        *,
        batching: Batching,
        metrics: Metrics,
    ) -> None:
        self._classifier = classifier
        self._settings = settings
        self._detector = classifier.detector
        self._profile = profile_of(classifier.manifest, classifier.runtime.name)
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(settings.prepare_threads, thread_name_prefix="prepare")
        # Of its own, because a form with too many images is refused at once, whatever is being
        # prepared.
        self._parser = ThreadPoolExecutor(1, thread_name_prefix="parse")
        self._under_way: set[Future[Any]] = set()
        self._turns = Turns(
            images=in_work_at_once(settings, batching),
            threads=settings.prepare_threads,
            pixels=MAX_PIXELS,
        )
        self._batcher: Batcher[NDArray[Any], Prediction] = Batcher(
            classifier.classify,
            max_size=batching.max_size,
            max_delay=settings.max_delay_ms / 1e3,
            on_batch=metrics.batch,
        )
        metrics.watch(
            "batch_queue_depth",
            "Faces that wait for a call of the runtime.",
            lambda: self._batcher.depth,
        )

    async def predict(
        self, body: bytes, kind: BodyType, *, deadline: float, place: Place | None = None
    ) -> dict[str, Any]:
        """The answer to a request, as JSON values.

        Args:
            deadline: By ``time.monotonic``.
            place: Told what the images cost, and of each that is done; None where nobody else lets
            requests in.

        Raises:
            RefusedError: If the body holds no image that can be read, there is no room for so many,
                or the deadline cannot be met.
            ArtifactError: If the model's outputs for an image cannot be used.
        """
        start = time.monotonic()
        try:
            async with asyncio.timeout(deadline - start):
                asked = await self._in_thread(
                    self._parser, _images, body, kind, self._settings.max_images
                )
                if place is not None:
                    place.weigh(sum(image.weight for image in asked))
                share = Share()
                found = await _all(
                    asyncio.ensure_future(self._image(image, share, deadline, place))
                    for image in asked
                )
        except (LateError, TimeoutError) as error:
            raise RefusedError(
                "late", "the answer would come after the deadline", retry_after=1
            ) from error
        images = [image for image, _ in found]
        if all(image["error"] for image in images):
            raise RefusedError("bad_image", images[0]["error"]["message"])
        total = (time.monotonic() - start) * 1e3
        return {
            "images": images,
            "timing": {"queue_ms": max(wait for _, wait in found), "total_ms": total},
        }

    def close(self, *, timeout: float = 0.0) -> bool:
        """Takes nothing in any more; False if what was under way was not done within ``timeout`` seconds."""
        end = time.monotonic() + timeout
        for threads in (self._parser, self._threads):
            threads.shutdown(wait=False, cancel_futures=True)
        ended = self._batcher.close(timeout=timeout)
        return (
            ended
            and not wait_for_futures(
                tuple(self._under_way), max(0.0, end - time.monotonic())
            ).not_done
        )

    async def _image(
        self, image: _Image, share: Share, deadline: float, place: Place | None
    ) -> tuple[dict[str, Any], float]:
        """The result of one image or its error, and how many milliseconds it waited for its turn."""
        result, waited = await self._read(image, share, deadline)
        if place is not None:
            place.finish_image(image.weight, classified=result["error"] is None)
        return result, waited

    async def _read(
        self, image: _Image, share: Share, deadline: float
    ) -> tuple[dict[str, Any], float]:
        if image.error is not None:
            return self._failed(image, image.error), 0.0
        start = time.monotonic()
        async with self._turns.turn(share, pixels=image.pixels) as turn:
            waited = (time.monotonic() - start) * 1e3
            future = self._started(self._threads, self._prepare, image, deadline)
            turn.runs(future)
            try:
                prepared, left_out = await asyncio.wrap_future(future)
            except (ImageError, InputError) as error:
                return self._failed(image, str(error)), waited
            answers = await self._classified(prepared, deadline)
        waited += max((answer.waited_ms for answer in answers), default=0.0)
        self._measure(prepared, waited)
        return {**self._result(image.upload, prepared, answers), "faces_left_out": left_out}, waited

    def _prepare(self, image: _Image, deadline: float) -> tuple[PreparedImage, int]:
        """What is to be classified, and how many faces beyond the limit are not."""
        if time.monotonic() > deadline:
            raise LateError
        largest = (
            LargestFaces(detector=self._detector, limit=self._settings.max_faces)
            if self._detector
            else None
        )
        entry = self._classifier.manifest.input
        prepared = prepared_image(
            image.upload.data, name=image.name, entry=entry, profile=self._profile, detector=largest
        )
        return prepared, largest.left_out if largest else 0

    async def _classified(
        self, prepared: PreparedImage, deadline: float
    ) -> list[Answered[Prediction]]:
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

    def _failed(self, image: _Image, message: str) -> dict[str, Any]:
        """An image of several that could not be read."""
        self._metrics.image(faces=0)
        return {
            "name": image.upload.name,
            "width": None,
            "height": None,
            "faces": [],
            "faces_left_out": 0,
            "timing": None,
            **error_body("bad_image", message),
        }

    async def _in_thread(self, threads: ThreadPoolExecutor, function: Any, *arguments: Any) -> Any:
        return await asyncio.wrap_future(self._started(threads, function, *arguments))

    def _started(self, threads: ThreadPoolExecutor, function: Any, *arguments: Any) -> Future[Any]:
        future = threads.submit(function, *arguments)
        # What a cancelled request has started goes on, and the end of the process must know of it.
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        return future


@dataclass(frozen=True, slots=True, kw_only=True)
class _Image:
    """An image that is asked about; ``name`` is what its errors call it, ``error`` what its header has against it."""

    upload: Upload
    name: str
    pixels: int = 0
    error: str | None = None

    @property
    def weight(self) -> int:
        return weight_of(self.pixels)


def in_work_at_once(settings: ServeSettings, batching: Batching) -> int:
    """How many images are prepared, wait for a batch or are in one: enough that neither waits for the other."""
    return settings.prepare_threads + 2 * batching.max_size


def _images(body: bytes, kind: BodyType, max_images: int) -> list[_Image]:
    uploads = uploads_of_body(body, kind, max_images=max_images)
    return [
        _described(name, upload) for name, upload in zip(_names(len(uploads)), uploads, strict=True)
    ]


def _described(name: str, upload: Upload) -> _Image:
    try:
        width, height = image_size(upload.data, name=name)
    except ImageError as error:
        return _Image(upload=upload, name=name, error=str(error))
    return _Image(upload=upload, name=name, pixels=width * height)


def _names(count: int) -> list[str]:
    """What errors call the images of a request."""
    return ["the image"] if count == 1 else [f"image {number}" for number in range(1, count + 1)]


async def _all(awaitables: Iterable[asyncio.Future[T]]) -> list[T]:
    """Every result in order; where one fails the others are cancelled, so that nothing is run for nobody."""
    futures = list(awaitables)
    try:
        return await asyncio.gather(*futures)
    except BaseException:
        for future in futures:
            future.cancel()
        raise

"""From images to predictions: prepared by a few threads, classified by one, within a deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for_futures
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio
import numpy as np
from numpy.typing import NDArray

from motivnet import __version__
from motivnet.errors import ImageError, InputError
from motivnet.images import MAX_PIXELS, image_size
from motivnet.prediction import Prediction
from motivnet.printable import printable
from motivnet.schema import convert
from motivnet_engines.faces.detector import Face, FaceDetector
from motivnet_engines.inference.cascade import Cascade, Classifier
from motivnet_engines.inference.classifier import image_result
from motivnet_engines.inference.preprocessing import PreparedImage
from motivnet_engines.runtimes.selection import parity_status
from motivnet_engines.serving import responses
from motivnet_engines.serving.batching import Answered, Batcher, Batching, LateError
from motivnet_engines.serving.metrics import Metrics
from motivnet_engines.serving.request_queue import Entry, RequestQueue, image_cost
from motivnet_engines.serving.settings import ServeSettings

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """The bytes of an image file, and the name that the client gave it."""

    data: bytes
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Image:
    """An upload whose header was read; ``title`` is what its errors call it."""

    upload: Upload
    title: str
    pixels: int = 0
    cost: float = 0.0
    error: str | None = None


@dataclass(slots=True, kw_only=True)
class _LargestFaces:
    """A detector for one image that keeps its ``limit`` largest faces and counts the others.

    Without it a crowd would take the memory of hundreds of prepared faces.
    """

    detector: FaceDetector
    limit: int
    left_out: int = 0

    def detect(self, pixels: NDArray[np.uint8]) -> tuple[Face, ...]:
        """Return the largest faces, in that order."""
        found = self.detector.detect(pixels)
        self.left_out = max(0, len(found) - self.limit)
        return found[: self.limit]


class PredictionService:
    """Answers requests of any number of clients on one event loop, in bounded memory.

    Only as many images are prepared at a time as the threads and two batches need, because a
    prepared face takes more memory than its file. What the images of a request cost is known from
    their headers before the first one is decoded.
    """

    def __init__(
        self,
        classifier: Classifier,
        settings: ServeSettings,
        *,
        batching: Batching,
        metrics: Metrics,
    ) -> None:
        self._classifier = classifier
        self._settings = settings
        self._image_seconds = batching.image_seconds
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(settings.prepare_threads, thread_name_prefix="prepare")
        self._preparing: set[Future[Any]] = set()
        self.queue = RequestQueue(
            capacity=settings.queue,
            deadline=settings.deadline_s,
            images=settings.prepare_threads + 2 * batching.max_size,
            image_seconds=batching.image_seconds,
            threads=settings.prepare_threads,
            pixels=MAX_PIXELS,
        )
        self._batcher: Batcher[Any, Prediction] = Batcher(
            classifier.classify,
            max_size=batching.max_size,
            max_delay=settings.max_delay_ms / 1e3,
            on_batch=metrics.batch,
        )
        metrics.watch("queue_depth", "Requests that wait or are in work.", lambda: self.queue.size)
        metrics.watch(
            "batch_queue_depth",
            "Faces that wait for a call of the runtime.",
            lambda: self._batcher.depth,
        )

    async def predict(
        self, uploads: Sequence[Upload], *, deadline: float
    ) -> responses.PredictionBody:
        """Return the answer to a request.

        Args:
            uploads: At least one.
            deadline: By ``time.monotonic``.

        Raises:
            OverloadedError, DrainingError: If the request is not accepted.
            LateError: If the deadline cannot be met.
            ImageError: If no image can be read.
            ArtifactError: If the model's outputs for an image cannot be used.
        """
        start = time.monotonic()
        async with self.queue.enter() as entry:
            with anyio.move_on_after(deadline - start) as scope:
                images = await anyio.to_thread.run_sync(self._read_headers, uploads)
                entry.reserve(sum(image.cost for image in images))
                done = await _all(
                    asyncio.ensure_future(self._predict_image(image, entry, deadline))
                    for image in images
                )
            # A TimeoutError of a detector or a runtime is a failure, which the log must tell.
            if scope.cancelled_caught:
                raise LateError
        results = tuple(result for result, _ in done)
        if all(result.error for result in results):
            raise ImageError(results[0].error.message if results[0].error else "")
        timing = responses.RequestTiming(
            queue_ms=max(waited for _, waited in done), total_ms=(time.monotonic() - start) * 1e3
        )
        return responses.PredictionBody(images=results, timing=timing)

    def close(self, *, timeout: float = 0.0) -> bool:
        """Take no more requests; return False if work is left after ``timeout`` seconds."""
        end = time.monotonic() + timeout
        self._threads.shutdown(wait=False, cancel_futures=True)
        idle = self._batcher.close(timeout=timeout)
        left = max(0.0, end - time.monotonic())
        return idle and not wait_for_futures(tuple(self._preparing), left).not_done

    def _read_headers(self, uploads: Sequence[Upload]) -> list[_Image]:
        return [
            self._read_header(upload, _title(upload, number, of=len(uploads)))
            for number, upload in enumerate(uploads, 1)
        ]

    def _read_header(self, upload: Upload, title: str) -> _Image:
        try:
            limits = self._settings.image_limits
            width, height = image_size(upload.data, name=title, limits=limits)
        except ImageError as error:
            return _Image(upload=upload, title=title, error=str(error))
        cost = image_cost(width * height, self._image_seconds)
        return _Image(upload=upload, title=title, pixels=width * height, cost=cost)

    async def _predict_image(
        self, image: _Image, entry: Entry, deadline: float
    ) -> tuple[responses.Image, float]:
        """Return the result of one image, or its error, and the milliseconds that it waited."""
        if image.error is not None:
            return self._failed(image, image.error), 0.0
        start = time.monotonic()
        async with self.queue.slot(entry, pixels=image.pixels, cost=image.cost) as slot:
            waited_ms = (time.monotonic() - start) * 1e3
            future = self._threads.submit(self._prepare, image, deadline)
            # It continues after its request was cancelled, and ``close`` must know of it.
            self._preparing.add(future)
            future.add_done_callback(self._preparing.discard)
            slot.runs(future)
            try:
                prepared, left_out = await asyncio.wrap_future(future)
            except (ImageError, InputError) as error:
                entry.cost -= image.cost
                return self._failed(image, str(error)), waited_ms
            answers = await _all(
                asyncio.wrap_future(self._batcher.submit(array, deadline=deadline))
                for array in prepared.inputs
            )
        entry.cost -= image.cost
        waited_ms += max((answer.waited_ms for answer in answers), default=0.0)
        self._metrics.images.inc()
        self._metrics.faces.inc(len(answers))
        for answer in answers:
            if answer.answer.answered_by is not None:
                self._metrics.answered.labels(by=answer.answer.answered_by).inc()
        self._metrics.seconds["queue"].observe(waited_ms / 1e3)
        self._metrics.seconds["prepare"].observe(prepared.prepare_ms / 1e3)
        return self._result(image.upload, prepared, answers, left_out), waited_ms

    def _prepare(self, image: _Image, deadline: float) -> tuple[PreparedImage, int]:
        """Return what is to be classified, and the number of faces beyond the limit."""
        if time.monotonic() > deadline:
            raise LateError
        detector = self._classifier.detector
        largest = (
            _LargestFaces(detector=detector, limit=self._settings.max_faces) if detector else None
        )
        prepared = self._classifier.prepare(
            image.upload.data,
            name=image.title,
            detector=largest,
            limits=self._settings.image_limits,
        )
        return prepared, largest.left_out if largest else 0

    def _result(
        self,
        upload: Upload,
        prepared: PreparedImage,
        answers: Sequence[Answered[Prediction]],
        left_out: int,
    ) -> responses.Image:
        result = image_result(
            prepared,
            [answer.answer for answer in answers],
            classify_ms=max((answer.run_ms for answer in answers), default=0.0),
        )
        values = {**result.to_dict(), "name": upload.name, "faces_left_out": left_out}
        return convert(values, responses.Image)

    def _failed(self, image: _Image, message: str) -> responses.Image:
        self._metrics.images.inc()
        error = responses.ErrorDetail(code="bad_image", message=message)
        return responses.Image(name=image.upload.name, error=error)


def describe_model(
    classifier: Classifier, settings: ServeSettings, *, name: str, batching: Batching
) -> responses.ModelBody:
    """Return the answer of ``GET /v1/model``; it contains no path."""
    manifest, detector = classifier.manifest, classifier.detector
    height, width = manifest.input.preprocessing.size
    return responses.ModelBody(
        name=printable(name),
        labels=tuple(classifier.labels),
        precision=manifest.precision,
        runtime=classifier.runtime.name,
        compute=classifier.runtime.compute,
        input=responses.InputBody(
            preprocessing=manifest.input.preprocessing.name,
            height=height,
            width=width,
            dtype=manifest.input.dtype,
            any_size=manifest.input.any_size,
        ),
        parity=responses.ParityBody(
            passed=manifest.parity.passed,
            images=manifest.parity.images,
            runtime=parity_status(manifest, classifier.runtime.name),
        ),
        detector=None if detector is None else getattr(detector, "name", "custom"),
        unknown=classifier.unknown,
        escalation=_describe_escalation(classifier),
        batching=responses.BatchingBody(max_size=batching.max_size, bit_exact=batching.bit_exact),
        limits=responses.LimitsBody(
            max_body_bytes=settings.max_body_bytes,
            max_pixels=settings.max_pixels,
            max_images=settings.max_images,
            max_faces=settings.max_faces,
            deadline_ms=round(settings.deadline_ms),
        ),
        version=__version__,
        purpose=None if manifest.purpose is None else printable(manifest.purpose),
    )


def _describe_escalation(classifier: Classifier) -> responses.EscalationBody | None:
    if not isinstance(classifier, Cascade) or classifier.escalation is None:
        return None
    escalation, full = classifier.escalation, classifier.full
    return responses.EscalationBody(
        model=printable(escalation.full_name),
        precision=full.manifest.precision,
        runtime=full.runtime.name,
        threshold=escalation.threshold,
        max_changed=escalation.max_changed,
        confidence_level=escalation.confidence_level,
        student_share=escalation.student_share,
        flop_share=escalation.mean_flop / escalation.full_flop,
    )


def _title(upload: Upload, number: int, *, of: int) -> str:
    """Return what errors call an image: its place in the request, and its file's name if known."""
    title = f"image {number}" if of > 1 else "the image"
    return title if upload.name is None else f"{title} {printable(repr(upload.name), limit=100)}"


async def _all(awaitables: Iterable[asyncio.Future[T]]) -> list[T]:
    """Return every result in order; if one fails, cancel the others, which nobody needs then."""
    futures = list(awaitables)
    try:
        return await asyncio.gather(*futures)
    except BaseException:
        for future in futures:
            future.cancel()
        raise

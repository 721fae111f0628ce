"""One replica of the service on a cluster: an open artifact, and the same JSON over HTTP as ``motivnet serve``."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from numpy.typing import NDArray

from motivnet.artifact import open_artifact
from motivnet.errors import ImageError, InputError, MissingDependencyError, MotivNetError
from motivnet.prediction import Prediction
from motivnet_engines.preparation import PreparedImage
from motivnet_engines.serving.batching import batching_for
from motivnet_engines.serving.bodies import GoneError, read_body, too_large
from motivnet_engines.serving.description import model_description
from motivnet_engines.serving.launch import LargestFaces
from motivnet_engines.serving.ray.reading import ReadingOptions, opened_classifier
from motivnet_engines.serving.refusals import RefusedError, error_body, response_of_refusal
from motivnet_engines.serving.settings import ServeSettings
from motivnet_engines.serving.uploads import Upload, body_type, uploads_of_body

try:
    from ray import serve
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
except ModuleNotFoundError as error:
    raise MissingDependencyError("ray", extra="ray") from error

_DIGITS = 18
_NOTHING: dict[str, Any] = {"width": None, "height": None, "faces": [], "timing": None}


class Replica:
    """What Ray Serve makes one of in each of its processes.

    Args:
        options: What is opened.
        settings: The limits of ``motivnet serve`` that concern a request itself; queues, deadlines and connections are
            Ray Serve's own.
    """

    def __init__(self, options: ReadingOptions, settings: ServeSettings) -> None:
        self._settings = settings
        self._classifier = opened_classifier(options)
        if self._classifier.detector is not None:
            self._classifier.detector = LargestFaces(detector=self._classifier.detector, limit=settings.max_faces)
        batching = batching_for(self._classifier, open_artifact(options.artifact), max_batch=settings.max_batch)
        self._description = model_description(self._classifier, settings, name="motivnet", batching=batching)
        batched: Any = self._classify  # the decorator's own attributes are not part of its type
        batched.set_max_batch_size(batching.max_size)
        batched.set_batch_wait_timeout_s(settings.max_delay_ms / 1e3)

    async def __call__(self, request: Request) -> Response:
        """The answer to a request, or its refusal."""
        try:
            return JSONResponse(await self._answer(request), headers={"Cache-Control": "no-store"})
        except GoneError:
            return Response(status_code=400)
        except RefusedError as refusal:
            return response_of_refusal(refusal)

    async def _answer(self, request: Request) -> dict[str, Any]:
        endpoints = {"/v1/predict": ("POST", self._predict), "/v1/model": ("GET", self._model)}
        if request.url.path not in endpoints:
            raise RefusedError("not_found", f"there is nothing at this path; there is {' and '.join(endpoints)}")
        method, endpoint = endpoints[request.url.path]
        if request.method != method:
            raise RefusedError("wrong_method", f"this path takes {method}")
        return await endpoint(request)

    async def _model(self, request: Request) -> dict[str, Any]:
        del request
        return self._description

    async def _predict(self, request: Request) -> dict[str, Any]:
        start = time.monotonic()
        kind = body_type(request.headers.get("content-type"), request.headers.get("content-encoding"))
        length = request.headers.get("content-length", "0")
        if length.isdigit() and int(length[:_DIGITS]) > self._settings.max_body_bytes:
            raise too_large(self._settings.max_body_bytes)
        body = await read_body(request.receive, max_bytes=self._settings.max_body_bytes)
        uploads = uploads_of_body(body, kind, max_images=self._settings.max_images)
        images = await asyncio.gather(*(self._image(index, upload) for index, upload in enumerate(uploads)))
        if all(image["error"] for image in images):
            raise RefusedError("bad_image", images[0]["error"]["message"])
        total = (time.monotonic() - start) * 1e3
        return {"images": images, "timing": {"queue_ms": None, "total_ms": total}}

    async def _image(self, index: int, upload: Upload) -> dict[str, Any]:
        try:
            prepared = await asyncio.to_thread(self._classifier.prepare, upload.data, name=f"image {index + 1}")
        except (ImageError, InputError) as error:
            return {"name": upload.name, **_NOTHING, **error_body("bad_image", str(error))}
        return {**await self._result(prepared), "name": upload.name, "error": None}

    async def _result(self, prepared: PreparedImage) -> dict[str, Any]:
        start = time.monotonic()
        answers = await asyncio.gather(*map(self._classify, prepared.inputs))
        elapsed = (time.monotonic() - start) * 1e3
        predictions = [answer for answer in answers if isinstance(answer, Prediction)]
        if len(predictions) < len(answers):
            raise RefusedError("failed", "the model's outputs for an image cannot be used")
        return self._classifier.result(prepared, predictions, classify_ms=elapsed).to_dict()

    @serve.batch(max_batch_size=1)
    async def _classify(self, inputs: list[NDArray[Any]]) -> list[Prediction | MotivNetError]:
        """Faces of several requests in one call; an input that fails does so for its own request alone."""
        return await asyncio.to_thread(self._classified, inputs)

    def _classified(self, inputs: list[NDArray[Any]]) -> list[Prediction | MotivNetError]:
        try:
            return [*self._classifier.classify(inputs)]
        except MotivNetError:
            return [self._alone(array) for array in inputs]

    def _alone(self, array: NDArray[Any]) -> Prediction | MotivNetError:
        try:
            return self._classifier.classify([array])[0]
        except MotivNetError as error:
            return error

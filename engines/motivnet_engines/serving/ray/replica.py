"""One replica of the service on a cluster: an open artifact, and the same JSON over HTTP as ``motivnet serve``."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from motivnet.artifact import open_artifact
from motivnet.errors import MotivNetError
from motivnet_engines.serving.batching import batching_for
from motivnet_engines.serving.bodies import GoneError, read_body, too_large
from motivnet_engines.serving.description import model_description
from motivnet_engines.serving.guard import NOBODY, Scope, check_request
from motivnet_engines.serving.limits import body_bytes, deadline_seconds
from motivnet_engines.serving.metrics import Metrics
from motivnet_engines.serving.ray.reading import ReadingOptions, opened_classifier
from motivnet_engines.serving.refusals import RefusedError, response_of_refusal
from motivnet_engines.serving.request_ids import REQUEST_ID_HEADER, request_id
from motivnet_engines.serving.security import SECURITY_HEADERS
from motivnet_engines.serving.service import PredictionService
from motivnet_engines.serving.settings import ServeSettings, is_loopback
from motivnet_engines.serving.targets import with_path
from motivnet_engines.serving.uploads import body_type

logger = logging.getLogger(__name__)


class Replica:
    """What Ray Serve makes one of in each of its processes.

    Faces of several requests share a call by the batcher of ``motivnet serve`` and not by
    ``serve.batch``: it knows deadlines, and an input that fails does so for its own request alone.

    Args:
        options: What is opened.
        settings: The token, and the limits of ``motivnet serve`` that concern a request itself; the
            queue before a replica and the connections are Ray Serve's own.
    """

    def __init__(self, options: ReadingOptions, settings: ServeSettings) -> None:
        self._settings = settings
        classifier = opened_classifier(options)
        batching = batching_for(
            classifier, open_artifact(options.artifact), max_batch=settings.max_batch
        )
        name = Path(options.artifact).resolve().name
        self._description = model_description(classifier, settings, name=name, batching=batching)
        self._service = PredictionService(
            classifier, settings, batching=batching, metrics=Metrics()
        )

    async def __call__(self, request: Request) -> Response:
        """The answer to a request, or its refusal."""
        name = request_id(request.headers.get(REQUEST_ID_HEADER))
        response = await self._answered(request, name)
        response.headers[REQUEST_ID_HEADER] = name
        response.raw_headers.extend(SECURITY_HEADERS)
        return response

    async def _answered(self, request: Request, name: str) -> Response:
        try:
            return JSONResponse(await self._answer(request), headers={"Cache-Control": "no-store"})
        except GoneError:
            return Response(status_code=NOBODY)
        except RefusedError as refusal:
            return response_of_refusal(refusal, request=name)
        except MotivNetError as error:
            # What it says is for the log alone, because it may name files.
            logger.error("a prediction failed: %s", error)
            return response_of_refusal(
                RefusedError("failed", "the model failed on this request"), request=name
            )

    async def _answer(self, request: Request) -> dict[str, Any]:
        endpoints = {"/v1/predict": ("POST", self._predict), "/v1/model": ("GET", self._model)}
        scope = with_path(request.scope)
        # Ray Serve's route_prefix is the root, and part of the path.
        path = str(scope["path"]).removeprefix(scope.get("root_path", ""))
        check_request(
            Headers(scope=scope), method=request.method, path=path, settings=self._settings
        )
        self._check_machine(scope)
        if path not in endpoints:
            raise RefusedError(
                "not_found", f"there is nothing at this path; there is {' and '.join(endpoints)}"
            )
        method, endpoint = endpoints[path]
        if request.method != method:
            raise RefusedError("wrong_method", f"this path takes {method}", allow=method)
        return await endpoint(request)

    def _check_machine(self, scope: Scope) -> None:
        """As ``motivnet serve`` does not start: where Ray Serve listens is known from a request alone."""
        host = (scope.get("client") or ("",))[0]
        if self._settings.token is None and not is_loopback(host.removeprefix("::ffff:")):
            raise RefusedError(
                "forbidden",
                "without a token this service answers only to clients of its own machine",
            )

    async def _model(self, request: Request) -> dict[str, Any]:
        del request
        return self._description

    async def _predict(self, request: Request) -> dict[str, Any]:
        deadline = time.monotonic() + deadline_seconds(request.headers, self._settings)
        kind = body_type(
            request.headers.get("content-type"), request.headers.get("content-encoding")
        )
        if body_bytes(request.headers, self._settings) > self._settings.max_body_bytes:
            raise too_large(self._settings.max_body_bytes)
        body = await read_body(request.receive, max_bytes=self._settings.max_body_bytes)
        return await self._service.predict(body, kind, deadline=deadline)

"""One replica of the service on a cluster, with the same JSON over HTTP as ``motivnet serve``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Scope

from motivnet.artifact import open_artifact
from motivnet_engines.serving.batching import batching_for
from motivnet_engines.serving.http.app import json_response
from motivnet_engines.serving.http.errors import (
    CLIENT_CLOSED_REQUEST,
    RequestError,
    error_response,
    request_error,
)
from motivnet_engines.serving.http.limits import UploadBuffer, check_body_length, deadline_seconds
from motivnet_engines.serving.http.middleware import (
    REQUEST_ID_HEADER,
    SECURITY_HEADERS,
    check_request,
    request_id,
)
from motivnet_engines.serving.metrics import Metrics
from motivnet_engines.serving.ray.reading import ReadingOptions, open_classifier
from motivnet_engines.serving.service import PredictionService, describe_model
from motivnet_engines.serving.settings import ServeSettings, is_loopback


class Replica:
    """The class of the deployment, of which each process of Ray Serve has one object.

    Faces of several requests are batched as in ``motivnet serve`` and not by ``serve.batch``, which
    knows no deadlines and fails a whole batch for one bad input.

    Args:
        options: What to open.
        settings: The token, and the limits of ``motivnet serve`` that concern a single request;
            Ray Serve has its own for the queue and the connections.
    """

    def __init__(self, options: ReadingOptions, settings: ServeSettings) -> None:
        self._settings = settings
        classifier = open_classifier(options)
        batching = batching_for(
            classifier, open_artifact(options.artifact), max_batch=settings.max_batch
        )
        name = Path(options.artifact).resolve().name
        self._description = describe_model(classifier, settings, name=name, batching=batching)
        self._uploads = UploadBuffer(settings)
        self._service = PredictionService(
            classifier, settings, batching=batching, metrics=Metrics()
        )

    async def __call__(self, request: Request) -> Response:
        """Return the response to a request."""
        name = request_id(request.headers.get(REQUEST_ID_HEADER))
        response = await self._answered(request, name)
        response.headers[REQUEST_ID_HEADER] = name
        response.raw_headers.extend(SECURITY_HEADERS)
        return response

    async def _answered(self, request: Request, name: str) -> Response:
        try:
            return json_response(await self._answer(request))
        except ClientDisconnect:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        except Exception as error:  # noqa: BLE001 - what is unexpected is logged and answered too
            return error_response(request_error(error, request=name), request=name)

    async def _answer(self, request: Request) -> Any:
        endpoints = {"/v1/predict": ("POST", self._predict), "/v1/model": ("GET", self._model)}
        scope = request.scope
        # Ray Serve's route_prefix is the root, and part of the path.
        path = str(scope["path"]).removeprefix(scope.get("root_path", ""))
        check_request(
            Headers(scope=scope), method=request.method, path=path, settings=self._settings
        )
        self._check_machine(scope)
        if path not in endpoints:
            raise RequestError(
                "not_found", f"there is nothing at this path; there is {' and '.join(endpoints)}"
            )
        method, endpoint = endpoints[path]
        if request.method != method:
            raise RequestError("wrong_method", f"this path takes {method}", allow=method)
        return await endpoint(request)

    def _check_machine(self, scope: Scope) -> None:
        """Refuse other machines without a token; only a request tells where Ray Serve listens."""
        host = (scope.get("client") or ("",))[0]
        if self._settings.token is None and not is_loopback(host.removeprefix("::ffff:")):
            raise RequestError(
                "forbidden",
                "without a token this service answers only to clients of its own machine",
            )

    async def _model(self, request: Request) -> Any:
        del request
        return self._description

    async def _predict(self, request: Request) -> Any:
        deadline = time.monotonic() + deadline_seconds(request.headers, self._settings)
        check_body_length(request.headers, self._settings)
        async with self._uploads.read(request) as uploads:
            return await self._service.predict(uploads, deadline=deadline)

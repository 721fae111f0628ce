"""The ASGI application: its paths, and how a request for a prediction goes through it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from motivnet.errors import MotivNetError
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.serving.admission import Admission
from motivnet_engines.serving.arrivals import Body
from motivnet_engines.serving.batching import Batching
from motivnet_engines.serving.bodies import GoneError, Receive, read_body, until_gone
from motivnet_engines.serving.description import model_description
from motivnet_engines.serving.guard import NOBODY, PREDICT, REQUEST_ID, guarded
from motivnet_engines.serving.limits import deadline_seconds
from motivnet_engines.serving.logs import log
from motivnet_engines.serving.metrics import CONTENT_TYPE, Metrics
from motivnet_engines.serving.openapi import openapi_document
from motivnet_engines.serving.pages import Pages
from motivnet_engines.serving.refusals import UNAVAILABLE, Code, RefusedError
from motivnet_engines.serving.service import PredictionService, in_work_at_once
from motivnet_engines.serving.settings import ServeSettings
from motivnet_engines.serving.uploads import body_type

logger = logging.getLogger(__name__)

_NO_STORE = {"Cache-Control": "no-store"}
_CODE_OF_STATUS: dict[int, tuple[Code, str]] = {
    404: ("not_found", "there is nothing at this path; /openapi.json says what there is"),
    405: (
        "wrong_method",
        "this path does not take that method; the header Allow says which it takes",
    ),
}


def create_app(
    classifier: EmotionClassifier,
    settings: ServeSettings,
    *,
    name: str = "motivnet",
    batching: Batching | None = None,
) -> Starlette:
    """An application that answers with the predictions of one open classifier, which stays the
    caller's to close.

    It starts threads; ``app.state.service.close()``, which the end of the ASGI lifespan calls too,
    ends them. Nothing that a client can ask for opens a model or a file.

    Args:
        name: What the service calls its model.
        batching: As ``batching_for`` found it; batches of one if None.
    """
    batching = batching or Batching()
    metrics = Metrics()
    admission = Admission(
        capacity=settings.queue,
        deadline=settings.deadline_s,
        max_waiting_bytes=settings.waiting_bytes,
        in_work=in_work_at_once(settings, batching),
    )
    metrics.watch("queue_depth", "Requests that wait or are in work.", lambda: admission.inside)
    service = PredictionService(classifier, settings, batching=batching, metrics=metrics)
    model = model_description(classifier, settings, name=name, batching=batching)
    endpoints = _Endpoints(
        settings, model=model, admission=admission, service=service, metrics=metrics
    )
    app = Starlette(
        routes=endpoints.routes(),
        middleware=[Middleware(guarded, settings=settings, admission=admission, metrics=metrics)],
        exception_handlers=dict(_HANDLERS),
        lifespan=_lifespan,
    )
    app.router.redirect_slashes = False
    app.state.admission, app.state.metrics, app.state.service = admission, metrics, service
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    yield
    app.state.service.close()


class _Endpoints:
    """One method per path, over what an application consists of."""

    def __init__(
        self,
        settings: ServeSettings,
        *,
        model: dict[str, Any],
        admission: Admission,
        service: PredictionService,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._described = JSONResponse(model)
        self._admission = admission
        self._service = service
        self._metrics = metrics
        self._pages = Pages()
        self._openapi = JSONResponse(openapi_document(settings))

    def routes(self) -> list[Route]:
        """The paths of the HTTP interface."""
        return [
            Route(PREDICT, self._predict, methods=["POST"]),
            Route("/v1/model", self._model, methods=["GET"]),
            Route("/healthz", self._healthy, methods=["GET"]),
            Route("/readyz", self._ready, methods=["GET"]),
            Route("/metrics", self._prometheus, methods=["GET"]),
            Route("/openapi.json", self._description, methods=["GET"]),
            Route("/", self._page, methods=["GET"]),
            Route("/page/{name}", self._page, methods=["GET"]),
        ]

    async def _predict(self, request: Request) -> Response:
        kind = body_type(
            request.headers.get("content-type"), request.headers.get("content-encoding")
        )
        seconds = deadline_seconds(request.headers, self._settings)
        with self._admission.arrivals.body() as held:
            body = await self._read(request.receive, held)
            async with self._admission.place() as place:
                work = self._service.predict(
                    body, kind, deadline=time.monotonic() + seconds, place=place
                )
                return JSONResponse(await _unless_gone(work, request.receive), headers=_NO_STORE)

    async def _read(self, receive: Receive, held: Body) -> bytes:
        arrivals = self._admission.arrivals
        async with arrivals.reading(held, seconds=self._settings.body_timeout_s):
            return await read_body(
                receive,
                max_bytes=self._settings.max_body_bytes,
                arrived=lambda size: arrivals.add(held, size),
            )

    async def _model(self, _: Request) -> Response:
        return self._described

    async def _healthy(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"}, headers=_NO_STORE)

    async def _ready(self, _: Request) -> Response:
        draining = self._admission.draining.is_set()
        body = {"status": "draining" if draining else "ok"}
        return JSONResponse(body, status_code=UNAVAILABLE if draining else 200, headers=_NO_STORE)

    async def _prometheus(self, _: Request) -> Response:
        return Response(self._metrics.text(), headers={"Content-Type": CONTENT_TYPE, **_NO_STORE})

    async def _description(self, _: Request) -> Response:
        return self._openapi

    async def _page(self, request: Request) -> Response:
        return self._pages.response(**request.path_params)


async def _unless_gone(work: Awaitable[dict[str, Any]], receive: Receive) -> dict[str, Any]:
    """What the work comes to; it is given up when the client closes the connection.

    Raises:
        GoneError: If the client did.
    """
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(until_gone(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise GoneError
        return task.result()
    finally:
        task.cancel()
        gone.cancel()


async def _answer_http_error(_: Request, error: HTTPException) -> Response:
    """Of the router: there is no such path, or no such method."""
    code, message = _CODE_OF_STATUS[error.status_code]
    raise RefusedError(code, message, allow=(error.headers or {}).get("Allow")) from error


async def _answer_nobody(_: Request, __: GoneError) -> Response:
    return Response(status_code=NOBODY)


async def _answer_failure(request: Request, error: MotivNetError) -> Response:
    """The model or its runtime failed; what they say is for the log, because it may name files."""
    log(
        logger,
        "a prediction failed",
        level=logging.ERROR,
        request=request.scope[REQUEST_ID],
        reason=str(error),
    )
    raise RefusedError("failed", "the model failed on this request") from error


_HANDLERS: dict[Any, Any] = {
    HTTPException: _answer_http_error,
    GoneError: _answer_nobody,
    MotivNetError: _answer_failure,
}

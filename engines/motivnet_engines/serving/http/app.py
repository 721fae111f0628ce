"""The ASGI application: its paths, and how a request for a prediction is answered."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable
from importlib.resources import files
from pathlib import PurePath
from typing import Any, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive

from motivnet_engines.inference.cascade import Classifier
from motivnet_engines.serving.batching import Batching
from motivnet_engines.serving.http.errors import UNAVAILABLE, RequestError
from motivnet_engines.serving.http.limits import (
    UploadBuffer,
    check_body_length,
    deadline_seconds,
)
from motivnet_engines.serving.http.middleware import PREDICT, ServiceMiddleware
from motivnet_engines.serving.http.openapi import openapi_document
from motivnet_engines.serving.metrics import CONTENT_TYPE, Metrics
from motivnet_engines.serving.responses import StatusBody
from motivnet_engines.serving.service import PredictionService, describe_model
from motivnet_engines.serving.settings import ServeSettings

T = TypeVar("T")

_NO_STORE = {"Cache-Control": "no-store"}
_PAGE_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def create_app(
    classifier: Classifier,
    settings: ServeSettings,
    *,
    name: str = "motivnet",
    batching: Batching | None = None,
) -> Starlette:
    """Return an application that answers with the predictions of one open classifier, or cascade.

    It starts threads, which ``app.state.service.close()`` or the end of the ASGI lifespan ends. The
    classifier stays open. Nothing that a client can ask for opens a model or a file.

    Args:
        name: What the service calls its model.
        batching: As ``batching_for`` measured it; batches of one if None.
    """
    batching = batching or Batching()
    metrics = Metrics()
    app = Starlette(
        routes=[
            Route(PREDICT, _predict, methods=["POST"]),
            Route("/v1/model", _model, methods=["GET"]),
            Route("/healthz", _health, methods=["GET"]),
            Route("/readyz", _readiness, methods=["GET"]),
            Route("/metrics", _metrics, methods=["GET"]),
            Route("/openapi.json", _openapi, methods=["GET"]),
            Route("/", _page, methods=["GET"]),
            Route("/page/{name}", _page, methods=["GET"]),
        ],
        middleware=[Middleware(ServiceMiddleware, settings=settings, metrics=metrics)],
        exception_handlers={HTTPException: _refuse_route},
        lifespan=_lifespan,
    )
    app.router.redirect_slashes = False
    app.state.settings = settings
    app.state.metrics = metrics
    app.state.uploads = UploadBuffer(settings)
    app.state.service = PredictionService(classifier, settings, batching=batching, metrics=metrics)
    app.state.model = describe_model(classifier, settings, name=name, batching=batching)
    app.state.openapi = openapi_document(settings)
    app.state.page = _read_page()
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    yield
    app.state.service.close()


async def _refuse_route(_: Request, error: Exception) -> Response:
    """Raise the router's errors as the middleware answers them."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allow = (error.headers or {}).get("Allow")
        raise RequestError("wrong_method", "this path takes other methods", allow=allow)
    raise RequestError("not_found", "there is no such path; /openapi.json lists them")


async def _predict(request: Request) -> Response:
    state = request.app.state
    service: PredictionService = state.service
    check_body_length(request.headers, state.settings)
    seconds = deadline_seconds(request.headers, state.settings)
    # Under overload most requests end here, before their bodies are read.
    service.queue.check()
    async with state.uploads.read(request) as uploads:
        work = service.predict(uploads, deadline=time.monotonic() + seconds)
        return json_response(await _unless_disconnected(work, request.receive))


async def _model(request: Request) -> Response:
    return json_response(request.app.state.model, headers={})


async def _health(_: Request) -> Response:
    return json_response(StatusBody(status="ok"))


async def _readiness(request: Request) -> Response:
    if request.app.state.service.queue.draining.is_set():
        return json_response(StatusBody(status="draining"), status=UNAVAILABLE)
    return json_response(StatusBody(status="ok"))


async def _metrics(request: Request) -> Response:
    text = request.app.state.metrics.text()
    return Response(text, headers=_NO_STORE, media_type=CONTENT_TYPE)


async def _openapi(request: Request) -> Response:
    return json_response(request.app.state.openapi, headers={})


async def _page(request: Request) -> Response:
    name = request.path_params.get("name", "index.html")
    page: dict[str, bytes] = request.app.state.page
    if name not in page:
        raise RequestError("not_found", "there is no such page")
    # Asked for again each time: the page belongs to the service that is running.
    headers = {"Cache-Control": "no-cache"}
    return Response(page[name], media_type=_PAGE_TYPES[PurePath(name).suffix], headers=headers)


def json_response(
    value: Any, *, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return a value as JSON; it is not to be stored unless ``headers`` say otherwise."""
    return Response(
        msgspec.json.encode(value),
        status_code=status,
        media_type="application/json",
        headers=_NO_STORE if headers is None else headers,
    )


def _read_page() -> dict[str, bytes]:
    """Return the page's files by name; no path of a request reaches the disk."""
    folder = files("motivnet_engines.serving.http") / "page"
    return {
        file.name: file.read_bytes()
        for file in folder.iterdir()
        if PurePath(file.name).suffix in _PAGE_TYPES
    }


async def _unless_disconnected(work: Awaitable[T], receive: Receive) -> T:
    """Return the result of the work, or cancel it when the client closes the connection.

    Raises:
        ClientDisconnect: If the client did.
    """
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

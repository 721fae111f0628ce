"""What every request passes: who may ask, error responses, safe headers, an id, metrics, a log."""

from __future__ import annotations

import contextlib
import logging
import re
import time
import uuid

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from motivnet_engines.serving.http.access import (
    OPEN_PATHS,
    PAGE_PREFIX,
    REQUEST_ID_HEADER,
    check_request,
    cors_headers,
    is_preflight,
)
from motivnet_engines.serving.http.errors import (
    CLIENT_CLOSED_REQUEST,
    error_response,
    request_error,
)
from motivnet_engines.serving.logs import log
from motivnet_engines.serving.metrics import Metrics
from motivnet_engines.serving.settings import ServeSettings

logger = logging.getLogger(__name__)

PREDICT = "/v1/predict"
PATHS = OPEN_PATHS | {PREDICT, "/v1/model", "/metrics"}
_METHODS = frozenset(("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"))
_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""What may stand in a header, a log and a shell without being escaped."""

SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (
        b"content-security-policy",
        # blob: is a picture or a camera that the page itself has opened.
        b"default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
        b"object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
)
"""Headers of every response."""


class ServiceMiddleware:
    """Checks each request, and makes each response safe, identified, counted and logged."""

    def __init__(self, app: ASGIApp, *, settings: ServeSettings, metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.monotonic()
        headers, method = Headers(scope=scope), scope["method"]
        path = path_below(self._settings.root_path, scope["path"])
        cors = cors_headers(headers, method, self._settings)
        request = request_id(headers.get(REQUEST_ID_HEADER))
        status = CLIENT_CLOSED_REQUEST

        async def send_safely(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = (REQUEST_ID_HEADER.lower().encode(), request.encode())
                message["headers"] = [*message.get("headers", ()), own, *SECURITY_HEADERS, *cors]
            try:
                await send(message)
            except Exception as error:
                # uvicorn has refused the next bytes of this connection and closed it.
                raise ClientDisconnect from error

        try:
            app = self._app_for(headers, method, path)
            await app({**scope, "path": path}, receive, send_safely)
        except ClientDisconnect:
            pass
        except Exception as error:
            told = request_error(error, request=request)
            if status != CLIENT_CLOSED_REQUEST:  # the response has begun
                raise
            self._metrics.refused.labels(reason=told.code).inc()
            with contextlib.suppress(ClientDisconnect):
                await error_response(told, request=request)(scope, receive, send_safely)
        finally:
            seconds = time.monotonic() - start
            self._record(request, method, path or "/", status, seconds)

    def _app_for(self, headers: Headers, method: str, path: str) -> ASGIApp:
        """Return what answers a request, if its client may ask."""
        check_request(headers, method=method, path=path, settings=self._settings)
        if is_preflight(headers, method, self._settings):
            return Response(status_code=204)
        if not path:  # the addresses in the page are relative to the slash
            return RedirectResponse(f"{self._settings.root_path}/", status_code=308)
        return self._app

    def _record(self, request: str, method: str, path: str, status: int, seconds: float) -> None:
        # Neither metrics nor the log grow by what clients make up.
        known = PAGE_PREFIX if path.startswith(PAGE_PREFIX) else path if path in PATHS else "other"
        self._metrics.requests.labels(path=known, status=str(status)).inc()
        if known == PREDICT:
            self._metrics.seconds["total"].observe(seconds)
        log(
            logger,
            "request",
            request=request,
            method=method if method in _METHODS else "other",
            path=known,
            status=status,
            ms=round(seconds * 1e3, 1),
        )


def path_below(root: str, path: str) -> str:
    """Return a path of the service without its root, which a proxy may have taken off or not."""
    return path.removeprefix(root) if path == root or path.startswith(f"{root}/") else path


def request_id(given: str | None = None) -> str:
    """Return the id that the client gave if it is short and plain, else a new one."""
    return given if given is not None and _PLAIN.fullmatch(given) else uuid.uuid4().hex

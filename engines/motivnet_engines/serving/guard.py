"""What stands around every path: refusals before a body is read, errors as JSON, safe headers, an
id, a count, a log.

An ASGI application around an application, because what costs nothing must come before routing:
under overload most requests end here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from starlette.datastructures import Headers

from motivnet_engines.serving.admission import Admission
from motivnet_engines.serving.bodies import Receive
from motivnet_engines.serving.limits import check_before_body, check_head
from motivnet_engines.serving.logs import log
from motivnet_engines.serving.metrics import Metrics
from motivnet_engines.serving.refusals import RefusedError, response_of_refusal
from motivnet_engines.serving.request_ids import REQUEST_ID_HEADER, request_id
from motivnet_engines.serving.security import OPEN_PREFIX, SECURITY_HEADERS, check_client
from motivnet_engines.serving.settings import ServeSettings
from motivnet_engines.serving.targets import check_target, with_path

logger = logging.getLogger(__name__)

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

PREDICT = "/v1/predict"
PATHS = frozenset((PREDICT, "/v1/model", "/healthz", "/readyz", "/metrics", "/openapi.json", "/"))
_METHODS = frozenset(("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"))
REQUEST_ID = "motivnet.request"
"""Where a scope has the request's id."""
NOBODY = 499
"""The status, in the count and the log alone, of a request whose client left before the answer."""


@dataclass(slots=True)
class _Answer:
    """What is known of an answer while it is sent; ``request`` is the id of what it answers."""

    request: str
    status: int = NOBODY
    start: float = field(default_factory=time.monotonic)


def guarded(
    app: ASGIApp, *, settings: ServeSettings, admission: Admission, metrics: Metrics
) -> ASGIApp:
    """An application that asks ``app`` only what may be asked, and whose every answer is safe, counted and logged."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        answer = _Answer(request=request_id(Headers(scope=scope).get(REQUEST_ID_HEADER)))
        scope = {**with_path(scope), REQUEST_ID: answer.request}
        safe_send = _safe(send, answer)

        async def refuse(refusal: RefusedError) -> None:
            metrics.refused(refusal.code)
            await response_of_refusal(refusal, request=answer.request)(scope, receive, safe_send)

        try:
            _check(scope, settings, admission)
            await app(scope, receive, safe_send)
        except RefusedError as refusal:
            await refuse(refusal)
        except Exception:
            if answer.status != NOBODY:
                raise
            log(
                logger,
                "an error of the service itself",
                level=logging.ERROR,
                exc_info=True,
                request=answer.request,
            )
            await refuse(RefusedError("failed", "the service failed; its log says why"))
        finally:
            _record(scope, answer, metrics)

    return handle


def check_request(headers: Headers, *, method: str, path: str, settings: ServeSettings) -> None:
    """Returns when a request may be looked at more closely: its head is within limits, and its
    client may ask.

    Raises:
        RefusedError: As ``check_head``, ``check_client`` and ``check_target``.
    """
    check_head(headers, settings)
    check_client(headers, method=method, path=path, settings=settings)
    check_target(path)


def _check(scope: Scope, settings: ServeSettings, admission: Admission) -> None:
    headers = Headers(scope=scope)
    check_request(headers, method=scope["method"], path=scope["path"], settings=settings)
    if scope["path"] == PREDICT and scope["method"] == "POST":
        check_before_body(headers, settings, admission)


def _safe(send: Send, answer: _Answer) -> Send:
    """Sends with the security headers and the request's id, and keeps the status."""
    own_headers = ((REQUEST_ID_HEADER.lower().encode(), answer.request.encode()), *SECURITY_HEADERS)

    async def safe_send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *own_headers]
        await send(message)

    return safe_send


def _record(scope: Scope, answer: _Answer, metrics: Metrics) -> None:
    seconds, path = time.monotonic() - answer.start, _known_path(scope["path"])
    metrics.answered(path=path, status=answer.status)
    if path == PREDICT:
        metrics.took("total", seconds)
    method = scope["method"] if scope["method"] in _METHODS else "other"
    ms = round(seconds * 1e3, 1)
    log(
        logger,
        "request",
        request=answer.request,
        method=method,
        path=path,
        status=answer.status,
        ms=ms,
    )


def _known_path(path: str) -> str:
    """One of a few: neither a count nor a log grows by what clients make up."""
    if path.startswith(OPEN_PREFIX):
        return OPEN_PREFIX
    return path if path in PATHS else "other"

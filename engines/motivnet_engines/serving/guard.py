"""What stands around every path: refusals before a body is read, errors as JSON, safe headers, a count and a log line.

An ASGI application around an application, because what costs nothing must come before routing: under overload most
requests end here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from starlette.datastructures import Headers

from motivnet_engines.serving.admission import Admission
from motivnet_engines.serving.limits import check_before_body, check_head
from motivnet_engines.serving.logs import log
from motivnet_engines.serving.metrics import Metrics
from motivnet_engines.serving.refusals import RefusedError, response_of_refusal
from motivnet_engines.serving.security import OPEN_PREFIX, SECURITY_HEADERS, check_client
from motivnet_engines.serving.settings import ServeSettings

logger = logging.getLogger(__name__)

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

PREDICT = "/v1/predict"
PATHS = frozenset((PREDICT, "/v1/model", "/healthz", "/readyz", "/metrics", "/openapi.json", "/"))
_METHODS = frozenset(("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"))
NOBODY = 499
"""The status, in the count and the log alone, of a request whose client left before the answer."""


@dataclass(slots=True)
class _Answer:
    """What is known of an answer while it is sent."""

    status: int = NOBODY


def guarded(app: ASGIApp, *, settings: ServeSettings, admission: Admission, metrics: Metrics) -> ASGIApp:
    """An application that asks ``app`` only what may be asked, and whose every answer is safe, counted and logged."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        start, answer = time.monotonic(), _Answer()
        safe_send = _safe(send, answer)
        try:
            _check(scope, settings, admission)
            await app(scope, receive, safe_send)
        except RefusedError as refusal:
            metrics.refused(refusal.code)
            await response_of_refusal(refusal)(scope, receive, safe_send)
        except Exception:
            if answer.status != NOBODY:
                raise
            logger.exception("an error of the service itself")
            failure = RefusedError("failed", "the service failed; its log says why")
            metrics.refused(failure.code)
            await response_of_refusal(failure)(scope, receive, safe_send)
        finally:
            _record(scope, answer.status, time.monotonic() - start, metrics)

    return handle


def _check(scope: Scope, settings: ServeSettings, admission: Admission) -> None:
    headers = Headers(scope=scope)
    check_head(headers, settings)
    check_client(headers, method=scope["method"], path=scope["path"], settings=settings)
    if scope["path"] == PREDICT and scope["method"] == "POST":
        check_before_body(headers, settings, admission)


def _safe(send: Send, answer: _Answer) -> Send:
    """Sends with the security headers, and keeps the status."""

    async def safe_send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *SECURITY_HEADERS]
        await send(message)

    return safe_send


def _record(scope: Scope, status: int, seconds: float, metrics: Metrics) -> None:
    path = _known_path(scope["path"])
    metrics.answered(path=path, status=status)
    if path == PREDICT:
        metrics.took("total", seconds)
    method = scope["method"] if scope["method"] in _METHODS else "other"
    log(logger, "request", method=method, path=path, status=status, ms=round(seconds * 1e3, 1))


def _known_path(path: str) -> str:
    """One of a few: neither a count nor a log grows by what clients make up."""
    if path.startswith(OPEN_PREFIX):
        return OPEN_PREFIX
    return path if path in PATHS else "other"

"""What every request passes: who may ask, error responses, safe headers, an id, metrics, a log.

A service on a loopback address without a token trusts whoever can reach it, and a browser can: any
page that it shows may send requests to http://localhost. A page of another site is known by its
Origin; one whose name was made to resolve to 127.0.0.1 (DNS rebinding) by its Host.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import re
import time
import uuid
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from motivnet_engines.serving.http.errors import (
    CLIENT_CLOSED_REQUEST,
    RequestError,
    error_response,
    request_error,
)
from motivnet_engines.serving.http.limits import check_head
from motivnet_engines.serving.logs import log
from motivnet_engines.serving.metrics import Metrics
from motivnet_engines.serving.settings import ServeSettings, is_loopback

logger = logging.getLogger(__name__)

PREDICT = "/v1/predict"
OPEN_PATHS = frozenset(("/", "/healthz", "/readyz", "/openapi.json"))
"""Paths without a token: the page, which asks for it, the probes and the description."""
PAGE_PREFIX = "/page/"
PATHS = OPEN_PATHS | {PREDICT, "/v1/model", "/metrics"}
_METHODS = frozenset(("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"))
_SAFE_METHODS = frozenset(("GET", "HEAD"))
_NOT_IN_A_HOST = frozenset("@/?#\\")  # RFC 9110, section 7.2

REQUEST_ID_HEADER = "X-Request-Id"
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
        headers = Headers(scope=scope)
        request = request_id(headers.get(REQUEST_ID_HEADER))
        status = CLIENT_CLOSED_REQUEST

        async def send_safely(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = (REQUEST_ID_HEADER.lower().encode(), request.encode())
                message["headers"] = [*message.get("headers", ()), own, *SECURITY_HEADERS]
            try:
                await send(message)
            except Exception as error:
                # uvicorn has refused the next bytes of this connection and closed it.
                raise ClientDisconnect from error

        try:
            check_request(
                headers, method=scope["method"], path=scope["path"], settings=self._settings
            )
            await self._app(scope, receive, send_safely)
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
            self._record(request, scope["method"], scope["path"], status, seconds)

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


def request_id(given: str | None = None) -> str:
    """Return the id that the client gave if it is short and plain, else a new one."""
    return given if given is not None and _PLAIN.fullmatch(given) else uuid.uuid4().hex


def check_request(headers: Headers, *, method: str, path: str, settings: ServeSettings) -> None:
    """Return if the head of a request is within its limits and its client may ask.

    Raises:
        RequestError: Saying what is missing, and nothing of what was sent.
    """
    check_head(headers, settings)
    if settings.token is None:
        _check_host(headers.get("host"))
    if method not in _SAFE_METHODS:
        _check_origin(headers)
    is_open = path in OPEN_PATHS or path.startswith(PAGE_PREFIX)
    if settings.token is not None and not is_open:
        _check_token(headers.get("authorization", ""), settings.token)


def _check_host(host: str | None) -> None:
    """Refuse other hosts; a browser always sends Host, so without it there is no page behind."""
    if host is not None and not _is_local(host):
        raise RequestError(
            "forbidden", "without a token this service answers only to localhost and 127.0.0.1"
        )


def _is_local(host: str) -> bool:
    if _NOT_IN_A_HOST.intersection(host):
        return False
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:  # brackets that do not match
        return False
    return name is not None and is_loopback(name.rstrip("."))


def _check_origin(headers: Headers) -> None:
    """Refuse pages of other sites; schemes are not compared, because a proxy may speak HTTPS."""
    origin = headers.get("origin")
    is_foreign = origin is not None and _site(origin) != headers.get("host")
    if is_foreign or headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise RequestError("forbidden", "a page of another site may not use this service")


def _site(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None


def _check_token(authorization: str, token: str) -> None:
    scheme, _, given = authorization.partition(" ")
    # Headers are decoded as latin-1; bytes, because compare_digest takes only ASCII text.
    is_same = hmac.compare_digest(given.strip().encode("latin-1"), token.encode("ascii"))
    if scheme.lower() != "bearer" or not is_same:
        message = "this service needs its token: Authorization: Bearer TOKEN"
        raise RequestError("unauthorised", message)

"""Who may ask: the token, and the Host and the Origin of what a browser sends.

A service on a loopback address without a token trusts whoever can reach it, and a browser can: any
page that it shows may send requests to http://localhost. A page of another site is known by its
Origin; one whose name was made to resolve to 127.0.0.1 (DNS rebinding) by its Host. What a proxy
says of either in X-Forwarded-* or Forwarded is not read, because every client can say it too.
"""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from motivnet.printable import printable
from motivnet_engines.serving.http.errors import RequestError
from motivnet_engines.serving.http.limits import DEADLINE_HEADER, check_head
from motivnet_engines.serving.settings import (
    DEFAULT_PORTS,
    ServeSettings,
    is_loopback,
    origin_of,
)

OPEN_PATHS = frozenset(("", "/", "/healthz", "/readyz", "/openapi.json"))
"""Paths without a token: the page, which asks for it, the probes and the description."""
PAGE_PREFIX = "/page/"
REQUEST_ID_HEADER = "X-Request-Id"

_PROXY_ADVICE = (
    "if a proxy is in front, have it pass on the Host that browsers send (nginx: "
    "proxy_set_header Host $http_host;)"
)
_SAFE_METHODS = frozenset(("GET", "HEAD"))
_NOT_IN_A_HOST = frozenset("@/?#\\")  # RFC 9110, section 7.2
_PREFLIGHT_HEADERS = (
    (b"access-control-allow-methods", b"GET, HEAD, POST"),
    (
        b"access-control-allow-headers",
        f"Authorization, Content-Type, {DEADLINE_HEADER}, {REQUEST_ID_HEADER}".encode(),
    ),
    (b"access-control-max-age", b"600"),
)
_EXPOSED_HEADERS = (
    b"access-control-expose-headers",
    f"Retry-After, {REQUEST_ID_HEADER}".encode(),
)


def check_request(headers: Headers, *, method: str, path: str, settings: ServeSettings) -> None:
    """Return if the head of a request is within its limits and its client may ask.

    Raises:
        RequestError: Saying what is missing.
    """
    check_head(headers, settings)
    if settings.token is None:
        _check_host(headers.get("host"))
    if method not in _SAFE_METHODS:
        _check_origin(headers, settings)
    is_open = path in OPEN_PATHS or path.startswith(PAGE_PREFIX)
    # Browsers send no token with a preflight, whose origin has just been checked.
    if settings.token is not None and not (is_open or is_preflight(headers, method, settings)):
        _check_token(headers.get("authorization", ""), settings.token)


def is_preflight(headers: Headers, method: str, settings: ServeSettings) -> bool:
    """Return whether a browser asks if a page of an allowed origin may send its request."""
    return (
        method == "OPTIONS"
        and "access-control-request-method" in headers
        and headers.get("origin") in settings.allowed_origins
    )


def cors_headers(
    headers: Headers, method: str, settings: ServeSettings
) -> tuple[tuple[bytes, bytes], ...]:
    """Return what lets a page of an allowed origin, and no other, read the response."""
    if not settings.allowed_origins:
        return ()
    vary = (b"vary", b"Origin")
    origin = headers.get("origin")
    if origin is None or origin not in settings.allowed_origins:
        return (vary,)
    allowed = (b"access-control-allow-origin", origin.encode())
    more = _PREFLIGHT_HEADERS if is_preflight(headers, method, settings) else (_EXPOSED_HEADERS,)
    return (vary, allowed, *more)


def _check_host(host: str | None) -> None:
    """Refuse other hosts; a browser always sends Host, so without it there is no page behind."""
    if host is not None and not _is_local(host):
        raise RequestError(
            "forbidden",
            "without a token this service answers only to localhost, 127.0.0.1 and [::1], not to "
            f"Host {_shown(host)}; start it with --token-file to have it answer to every name; "
            f"{_PROXY_ADVICE}",
        )


def _is_local(host: str) -> bool:
    if _NOT_IN_A_HOST.intersection(host):
        return False
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:  # brackets that do not match, or a port that is none
        return False
    return parts.hostname is not None and is_loopback(parts.hostname)


def _check_origin(headers: Headers, settings: ServeSettings) -> None:
    """Refuse pages of other sites."""
    origin, host = headers.get("origin"), headers.get("host", "")
    if origin in settings.allowed_origins:
        return
    problem = "a page of another site may not use this service"
    if origin is not None and not _is_of_host(origin, host):
        advice = _PROXY_ADVICE
        if origin_of(origin) == origin:
            advice += f", or start the service with --allowed-origin {origin}"
        raise RequestError(
            "forbidden", f"{problem}: Origin {_shown(origin)}, Host {_shown(host)}; {advice}"
        )
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise RequestError("forbidden", problem)


def _is_of_host(origin: str, host: str) -> bool:
    """Return whether a page is this service's; a proxy may speak HTTPS, so any scheme will do."""
    scheme, _, site = origin.partition("://")
    return bool(site) and host in (site, f"{site}:{DEFAULT_PORTS.get(scheme, '')}")


def _shown(header: str) -> str:
    return printable(header, limit=100) or "without a value"


def _check_token(authorization: str, token: str) -> None:
    scheme, _, given = authorization.partition(" ")
    # Headers are decoded as latin-1; bytes, because compare_digest takes only ASCII text.
    is_same = hmac.compare_digest(given.strip().encode("latin-1"), token.encode("ascii"))
    if scheme.lower() != "bearer" or not is_same:
        message = "this service needs its token: Authorization: Bearer TOKEN"
        raise RequestError("unauthorised", message)

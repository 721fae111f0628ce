"""Who may ask: the holder of the token, and no web page of somebody else.

A service on a loopback address without a token trusts whoever can reach it, and a browser can: any
page that it shows may send requests to http://localhost. A page elsewhere is known by its Origin;
one whose name was made to lead to
127.0.0.1 (DNS rebinding) by its Host.
"""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from motivnet_engines.serving.refusals import RefusedError
from motivnet_engines.serving.settings import ServeSettings, is_loopback

OPEN_PATHS = frozenset(("/", "/healthz", "/readyz", "/openapi.json"))
"""What needs no token: the page, which asks for it, what a load balancer looks at, and the description."""

OPEN_PREFIX = "/page/"

_SAFE_METHODS = frozenset(("GET", "HEAD"))
_NOT_IN_A_HOST = frozenset("@/?#\\")

SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; object-src 'none'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
)
"""Of every answer. ``blob:`` is a picture or a camera that the page itself has in its hands."""


def check_client(headers: Headers, *, method: str, path: str, settings: ServeSettings) -> None:
    """Returns when the request may be answered.

    Raises:
        RefusedError: Saying what is missing, and nothing of what was sent.
    """
    if settings.token is None:
        _check_host(headers.get("host"))
    if method not in _SAFE_METHODS:
        _check_origin(headers)
    if settings.token is not None and path not in OPEN_PATHS and not path.startswith(OPEN_PREFIX):
        _check_token(headers.get("authorization", ""), settings.token)


def _check_host(host: str | None) -> None:
    """A browser always sends a Host, so that without one there is no page behind the request."""
    if host is not None and not _is_local(host):
        raise RefusedError(
            "forbidden", "without a token this service answers only to localhost and 127.0.0.1"
        )


def _is_local(host: str) -> bool:
    """A Host is a name and perhaps a port: nothing before an @ and nothing after a slash (RFC 9110, section 7.2)."""
    if _NOT_IN_A_HOST.intersection(host):
        return False
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:  # brackets that do not match
        return False
    return name is not None and is_loopback(name.rstrip("."))


def _check_origin(headers: Headers) -> None:
    """The scheme is not compared: a proxy in front may speak HTTPS."""
    origin = headers.get("origin")
    foreign = origin is not None and _site(origin) != headers.get("host")
    if foreign or headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise RefusedError("forbidden", "a page of another site may not use this service")


def _site(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None


def _check_token(authorization: str, token: str) -> None:
    scheme, _, given = authorization.partition(" ")
    # Headers are decoded as latin-1; bytes, because compare_digest takes no text beyond ASCII.
    same = hmac.compare_digest(given.strip().encode("latin-1"), token.encode("ascii"))
    if scheme.lower() != "bearer" or not same:
        raise RefusedError(
            "unauthorised", "this service needs its token: Authorization: Bearer TOKEN"
        )

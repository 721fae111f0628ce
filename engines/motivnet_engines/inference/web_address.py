"""The address of a picture, and what may be shown of it.

User and password go to the address's own host alone, and into no result or message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from motivnet.errors import ConfigError

SCHEMES = ("http", "https")

_SECRET = re.compile(r"(?i)auth|cred|key|pass|secret|sig|token")
_UNESCAPED = "%/:=&~+!$,;'@()*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """The address of a picture, split by ``address_from_text``.

    Args:
        url: What is requested, without user and fragment.
        user: User and password, ``user:password``, or None.
        name: What results and messages call it; the values of secrets in its query are hidden.
    """

    url: str
    user: str | None
    name: str

    @property
    def file_name(self) -> str:
        """The last part of the path, with only letters, digits and ``._-``; never empty."""
        last = unquote(urlsplit(self.url).path.rstrip("/").rpartition("/")[2])
        return re.sub(r"[^\w.-]", "_", last).lstrip(".")[-60:] or "picture"


def address_from_text(text: str) -> Address:
    """Return the address of a picture; characters that need it are escaped.

    Raises:
        ConfigError: If it is not one over HTTP or HTTPS, or names no host.
    """
    try:
        parts = urlsplit(text)
        place = _place(parts)
    except ValueError as error:  # also of a host's name that cannot be encoded
        raise ConfigError(
            "an address has a host and a valid port: http://HOST:PORT/PATH"
        ) from error
    path = quote(parts.path or "/", safe=_UNESCAPED)
    query = quote(parts.query, safe=f"{_UNESCAPED}?")
    user = None
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Address(
        url=urlunsplit((parts.scheme, place, path, query, "")),
        user=user,
        name=urlunsplit((parts.scheme, place, parts.path, _without_secrets(parts.query), "")),
    )


def _place(parts: SplitResult) -> str:
    """Return host and port as they are sent."""
    if not parts.hostname or parts.scheme not in SCHEMES:
        raise ValueError(parts.scheme)
    host = parts.hostname.encode("idna").decode()
    host = f"[{host}]" if ":" in host else host
    return host if parts.port is None else f"{host}:{parts.port}"


def _without_secrets(query: str) -> str:
    """Return a query in which the values of what is named as a secret are hidden."""
    pairs = parse_qsl(query, keep_blank_values=True)
    if not any(_SECRET.search(name) for name, _ in pairs):
        return query
    return urlencode([(name, "..." if _SECRET.search(name) else value) for name, value in pairs])

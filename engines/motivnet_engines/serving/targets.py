"""What a request asks for where that is not a path."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import unquote

from motivnet_engines.serving.refusals import RefusedError

_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]*)(.*)", re.DOTALL)
_METHODS = "GET, HEAD, POST"


def with_path(scope: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The request with a path for its target, as it would be with the authority in its Host alone.

    A server must take the absolute form that is meant for proxies, and then the authority in it is
    the Host, whatever the header says (RFC 9112, section 3.2.2).
    """
    found = _ABSOLUTE.fullmatch(scope.get("raw_path") or b"")
    if found is None:
        return scope
    authority, raw_path = found[1], found[2] or b"/"
    headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
    path = unquote(raw_path.decode("latin-1"))
    return {
        **scope,
        "path": path,
        "raw_path": raw_path,
        "headers": [(b"host", authority), *headers],
    }


def check_target(path: str) -> None:
    """Returns when the target is a path and not the whole service, about which only ``OPTIONS *``
    asks.

    Raises:
        RefusedError: Saying which methods there are.
    """
    if path == "*":
        raise RefusedError(
            "wrong_method",
            "only a path can be asked about; /openapi.json lists them",
            allow=_METHODS,
        )

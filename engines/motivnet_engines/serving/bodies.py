"""Reading the body of a request within its limits of size and time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from motivnet_engines.serving.refusals import RefusedError

Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]


class GoneError(Exception):
    """The client closed the connection; there is nobody to answer."""


async def read_body(
    receive: Receive, *, max_bytes: int, arrived: Callable[[int], object] = lambda _: None
) -> bytes:
    """The whole body; not more than ``max_bytes`` of it are held at any time.

    Args:
        arrived: Told of the bytes of each piece before it is kept; what it raises ends the reading.

    Raises:
        RefusedError: If it is longer, whatever its Content-Length said.
        GoneError: If the client left before its end.
    """
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise GoneError
        chunk = message.get("body", b"")
        if len(body) + len(chunk) > max_bytes:
            raise too_large(max_bytes)
        arrived(len(chunk))
        body += chunk
        more = message.get("more_body", False)
    return bytes(body)


async def until_gone(receive: Receive) -> None:
    """Returns when the client has closed the connection; only after its body was read."""
    while (await receive())["type"] != "http.disconnect":
        pass


def too_large(max_bytes: int) -> RefusedError:
    """The body is longer than the service takes."""
    return RefusedError("too_large", f"a body holds at most {max_bytes:,} bytes")

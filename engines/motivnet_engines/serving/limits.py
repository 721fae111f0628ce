"""What is refused from the head of a request alone, before its body is read."""

from __future__ import annotations

from starlette.datastructures import Headers

from motivnet_engines.serving.admission import Admission
from motivnet_engines.serving.bodies import too_large
from motivnet_engines.serving.refusals import RefusedError
from motivnet_engines.serving.settings import ServeSettings

DEADLINE_HEADER = "X-Deadline-Ms"
_DIGITS = 18


def check_head(headers: Headers, settings: ServeSettings) -> None:
    """Returns when the head of a request is within the limits that hold for every path.

    The size of the whole head is limited where it is parsed, in ``protocol``.

    Raises:
        RefusedError: If there are too many headers, or two of them say where the body ends.
    """
    if len(headers.raw) > settings.max_headers:
        raise RefusedError(
            "too_many_headers", f"a request has at most {settings.max_headers} headers"
        )
    if "content-length" in headers and "transfer-encoding" in headers:
        raise _two_ends()


def check_before_body(headers: Headers, settings: ServeSettings, admission: Admission) -> None:
    """Returns when it makes sense to read the body of a request for a prediction.

    Raises:
        RefusedError: If the body is announced as too long, or there is no place for the request.
    """
    if body_bytes(headers, settings) > settings.max_body_bytes:
        raise too_large(settings.max_body_bytes)
    admission.check()


def body_bytes(headers: Headers, settings: ServeSettings) -> int:
    """How long a body is, or may become where its length is not announced.

    Raises:
        RefusedError: If the announcement is not a number.
    """
    if "content-length" not in headers:
        return settings.max_body_bytes
    length = _whole_number(headers["content-length"])
    if length is None:
        raise RefusedError("bad_request", "Content-Length is a whole number of bytes")
    return length


def deadline_seconds(headers: Headers, settings: ServeSettings) -> float:
    """How long a request may take: what its header says, up to what the service allows.

    Raises:
        RefusedError: If the header is not a number of milliseconds.
    """
    if DEADLINE_HEADER not in headers:
        return settings.deadline_s
    asked = _whole_number(headers[DEADLINE_HEADER])
    if not asked:
        raise RefusedError(
            "bad_request", f"{DEADLINE_HEADER} is a whole number of milliseconds above 0"
        )
    return min(asked / 1e3, settings.deadline_s)


def _two_ends() -> RefusedError:
    """RFC 9112, section 6.1: who reads such a request by the other header finds another request in its body."""
    refusal = RefusedError(
        "bad_request", "a request has Content-Length or Transfer-Encoding, not both"
    )
    refusal.headers["Connection"] = "close"
    return refusal


def _whole_number(text: str) -> int | None:
    """None for a text that is something else; ``int`` alone takes signs, underscores and other scripts' digits."""
    if not (text.isascii() and text.isdigit()):
        return None
    digits = text.lstrip("0") or "0"
    return int(digits) if len(digits) <= _DIGITS else 10**_DIGITS

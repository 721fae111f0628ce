"""One id a request: in its answer, in its error and in the log, so that each is found by the other."""

from __future__ import annotations

import re
import uuid

REQUEST_ID_HEADER = "X-Request-Id"

_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""What may stand in a header, a log and a shell without being escaped."""


def request_id(given: str | None = None) -> str:
    """A new id, or the one that the client gave if it is short and plain."""
    return given if given is not None and _PLAIN.fullmatch(given) else uuid.uuid4().hex

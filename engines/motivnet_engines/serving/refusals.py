"""Why a request is not answered with a result: one table of codes, one exception, one JSON form."""

from __future__ import annotations

import math
from typing import Literal

from motivnet.errors import MissingDependencyError

try:
    from starlette.responses import JSONResponse
except ModuleNotFoundError as error:
    raise MissingDependencyError("starlette", extra="serve") from error

Code = Literal[
    "bad_request",
    "unauthorised",
    "forbidden",
    "not_found",
    "wrong_method",
    "too_slow",
    "too_large",
    "wrong_type",
    "bad_image",
    "too_many_headers",
    "failed",
    "overloaded",
    "draining",
    "late",
]

STATUS_OF_CODE: dict[Code, int] = {
    "bad_request": 400,
    "unauthorised": 401,
    "forbidden": 403,
    "not_found": 404,
    "wrong_method": 405,
    "too_slow": 408,
    "too_large": 413,
    "wrong_type": 415,
    "bad_image": 422,
    "too_many_headers": 431,
    "failed": 500,
    "overloaded": 503,
    "draining": 503,
    "late": 503,
}

UNAVAILABLE = 503


class RefusedError(Exception):
    """A request that gets no result, and what its client is told.

    Args:
        code: Of the table; it decides the status.
        message: One line without paths, versions and what the client sent.
        retry_after: Seconds after which it is worth trying again, where the status is 503.
        allow: The methods that there are, where the status is 405.
    """

    def __init__(
        self, code: Code, message: str, *, retry_after: float = 1.0, allow: str | None = None
    ) -> None:
        super().__init__(message)
        self.code: Code = code
        self.status = STATUS_OF_CODE[code]
        self.message = message
        self.headers: dict[str, str] = {}
        if self.status == UNAVAILABLE:
            self.headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
        if code == "too_slow":
            self.headers["Connection"] = "close"
        if code == "unauthorised":
            self.headers["WWW-Authenticate"] = "Bearer"
        if allow is not None:
            self.headers["Allow"] = allow


def error_body(
    code: Code, message: str, *, request: str | None = None
) -> dict[str, dict[str, str]]:
    """What every error looks like; that of a whole request has the request's id."""
    error: dict[str, str] = {"code": code, "message": message}
    return {"error": error if request is None else {**error, "request": request}}


def response_of_refusal(refusal: RefusedError, *, request: str | None = None) -> JSONResponse:
    """The answer with the refusal's status, headers and JSON body.

    Args:
        request: The request's id, where it has one.
    """
    body = error_body(refusal.code, refusal.message, request=request)
    return JSONResponse(body, status_code=refusal.status, headers=refusal.headers)

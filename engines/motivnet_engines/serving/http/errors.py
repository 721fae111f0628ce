"""Error responses: one table of codes, one exception, one JSON form."""

from __future__ import annotations

import logging
import math

import msgspec
from starlette.responses import Response

from motivnet.errors import ImageError, MotivNetError
from motivnet_engines.serving.batching import LateError
from motivnet_engines.serving.logs import log
from motivnet_engines.serving.request_queue import DrainingError, OverloadedError
from motivnet_engines.serving.responses import ErrorBody, ErrorCode, RequestErrorDetail

logger = logging.getLogger(__name__)

STATUS_AND_MEANING: dict[ErrorCode, tuple[int, str]] = {
    "bad_request": (400, "a header, the form, the JSON or the number of images is not valid"),
    "unauthorised": (401, "the token is missing or wrong"),
    "forbidden": (403, "the request comes from a page of another site, or from another host"),
    "not_found": (404, "the path does not exist"),
    "wrong_method": (405, "the path does not take the method; Allow says which it takes"),
    "too_slow": (408, "the body did not arrive in time"),
    "too_large": (413, "the body is too long"),
    "wrong_type": (415, "the body is neither an image nor a form or JSON with images"),
    "bad_image": (422, "no image could be read"),
    "too_many_headers": (431, "the request has too many headers"),
    "failed": (500, "the service or its model failed"),
    "overloaded": (503, "more is waiting than can be answered in time; nothing was done"),
    "draining": (503, "the service is shutting down; nothing was done"),
    "late": (503, "the deadline cannot be met"),
}

UNAVAILABLE = 503
CLIENT_CLOSED_REQUEST = 499
"""The status, in metrics and the log alone, of a request whose client left before the answer."""


class RequestError(Exception):
    """A request that gets an error response.

    Args:
        code: Decides the status.
        message: One line without paths and versions; what the client sent is ``printable``.
        retry_after: Seconds after which a retry is sensible, if the status is 503.
        allow: The allowed methods, if the status is 405.
        close: Whether the connection is closed after the response.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        retry_after: float = 1.0,
        allow: str | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.status = STATUS_AND_MEANING[code][0]
        self.message = message
        self.headers: dict[str, str] = {"Cache-Control": "no-store"}
        if self.status == UNAVAILABLE:
            self.headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
        if code == "unauthorised":
            self.headers["WWW-Authenticate"] = "Bearer"
        if allow is not None:
            self.headers["Allow"] = allow
        if close:
            self.headers["Connection"] = "close"


def request_error(error: Exception, *, request: str) -> RequestError:
    """Return what a client is told of an exception; what it must not be told is logged."""
    match error:
        case RequestError():
            told = error
        case OverloadedError():
            message = "more requests are waiting than can be answered in time"
            told = RequestError("overloaded", message, retry_after=error.seconds)
        case DrainingError():
            message = "the service is shutting down; try again elsewhere or later"
            told = RequestError("draining", message, retry_after=5)
        case LateError():
            told = RequestError("late", "the answer would come after the deadline")
        case ImageError():
            told = RequestError("bad_image", str(error))
        case MotivNetError():  # its text may name files of this machine
            log(
                logger,
                "a prediction failed",
                level=logging.ERROR,
                request=request,
                reason=str(error),
            )
            told = RequestError("failed", "the model failed on this request")
        case _:
            log(logger, "the service failed", level=logging.ERROR, exc_info=True, request=request)
            told = RequestError("failed", "the service failed; its log says why")
    return told


def error_response(error: RequestError, *, request: str) -> Response:
    """Return the response with the error's status, headers and JSON body."""
    detail = RequestErrorDetail(code=error.code, message=error.message, request=request)
    return Response(
        msgspec.json.encode(ErrorBody(error=detail)),
        status_code=error.status,
        media_type="application/json",
        headers=error.headers,
    )

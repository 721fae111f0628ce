"""The OpenAPI description: every path, every status and every header that a client can meet, from the same tables."""

from __future__ import annotations

from typing import Any

from motivnet import __version__
from motivnet_engines.serving.limits import DEADLINE_HEADER
from motivnet_engines.serving.refusals import STATUS_OF_CODE, UNAVAILABLE, Code
from motivnet_engines.serving.request_ids import REQUEST_ID_HEADER
from motivnet_engines.serving.schemas import JSON, PICTURE_EXAMPLE, SCHEMAS, reference
from motivnet_engines.serving.settings import ServeSettings

_MEANINGS: dict[Code, str] = {
    "bad_request": "not valid HTTP, or a header, the form or the number of images is not as it should be",
    "unauthorised": "the token is missing or wrong",
    "forbidden": "a page of another site asks, or another name than localhost is used without a token",
    "not_found": "there is nothing at this path",
    "wrong_method": "the path does not take the method; Allow says which it takes",
    "too_slow": "the request did not arrive in time",
    "too_large": "the body is too long",
    "wrong_type": "the body is neither an image nor a form with images",
    "bad_image": "no image could be read",
    "too_many_headers": "the request has too many headers",
    "failed": "the service or its model failed",
    "overloaded": "more is waiting than can be answered in time; nothing was done",
    "draining": "the service is shutting down; nothing was done",
    "late": "the deadline cannot be met",
}
_ANY_PATH: tuple[Code, ...] = (
    "bad_request",
    "forbidden",
    "too_slow",
    "too_many_headers",
    "failed",
    "overloaded",
)
_PREDICTION: tuple[Code, ...] = ("too_large", "wrong_type", "bad_image", "draining", "late")

_IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp", "image/bmp", "image/*")
_BINARY: JSON = {"type": "string", "format": "binary"}
_SAMPLES = """

    curl --data-binary @face.jpg -H 'Content-Type: image/jpeg' http://127.0.0.1:8000/v1/predict
    curl -F image=@face.jpg -F image=@other.png http://127.0.0.1:8000/v1/predict
"""
_REQUEST_ID = "The request's id, as in an error and in the log: the client's own where it is short and plain, else a new one."


def openapi_document(settings: ServeSettings) -> JSON:
    """OpenAPI 3.1; with a security scheme where the service has a token."""
    document: JSON = {
        "openapi": "3.1.0",
        "info": {
            "title": "MotivNet",
            "version": __version__,
            "description": "Names the emotion that each face in an image shows.",
        },
        "paths": _paths(settings),
        "components": {
            "schemas": SCHEMAS,
            "headers": {
                "RequestId": {
                    "description": _REQUEST_ID,
                    "schema": {"type": "string"},
                    "required": True,
                }
            },
        },
    }
    if settings.token is not None:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return document


def _paths(settings: ServeSettings) -> JSON:
    closed = settings.token is not None
    gets = {
        "/v1/model": _get("model", "The model that is served", _json("Model"), closed=closed),
        "/healthz": _get("health", "Whether the process answers", _json("Status")),
        "/readyz": _ready(),
        "/metrics": _get("metrics", "Counters for Prometheus", _text("text/plain"), closed=closed),
        "/openapi.json": _get("openapi", "This description", _schemaless()),
        "/": _get("page", "The page for people", _text("text/html")),
        "/page/{name}": _page_file(),
    }
    found = {path: {"get": get, "head": _head(get)} for path, get in gets.items()}
    return {"/v1/predict": {"post": _predict(settings, closed=closed)}, **found}


def _predict(settings: ServeSettings, *, closed: bool) -> JSON:
    codes = _ANY_PATH + _PREDICTION + (("unauthorised",) if closed else ())
    return {
        "operationId": "predict",
        "summary": "The faces of one image, or of several, and the emotion that each shows",
        "description": (
            f"At most {settings.max_body_bytes:,} bytes and {settings.max_images} images. The answer comes within "
            f"{settings.deadline_ms} ms of the body's last byte, or within the deadline asked for if that is shorter."
            f"{_SAMPLES}"
        ),
        "parameters": [_deadline(settings)],
        "requestBody": {"required": True, "content": _body_types(settings)},
        "responses": {"200": _response("The result", _json("Prediction")), **_errors(codes)},
        **_security(closed=closed),
    }


def _get(
    operation: str,
    summary: str,
    content: JSON,
    *,
    closed: bool = False,
    codes: tuple[Code, ...] = _ANY_PATH,
) -> JSON:
    codes += ("unauthorised",) if closed else ()
    return {
        "operationId": operation,
        "summary": summary,
        "responses": {"200": _response(summary, content), **_errors(codes)},
        **_security(closed=closed),
    }


def _head(get: JSON) -> JSON:
    """The same without bodies."""
    responses = {
        status: {name: value for name, value in response.items() if name != "content"}
        for status, response in get["responses"].items()
    }
    return {**get, "operationId": f"{get['operationId']}_head", "responses": responses}


def _page_file() -> JSON:
    content = {
        kind: _schema(_BINARY)
        for kind in ("text/css", "text/html", "text/javascript", "image/svg+xml")
    }
    found = _get("page_file", "A file of the page", content, codes=(*_ANY_PATH, "not_found"))
    name = {
        "name": "name",
        "in": "path",
        "required": True,
        "schema": {"type": "string"},
        "example": "main.js",
    }
    return {**found, "parameters": [name]}


def _ready() -> JSON:
    """The one 503 that is a status and not an error, except where there are too many connections."""
    found = _get("ready", "Whether requests for predictions are taken", _json("Status"))
    either = {"oneOf": [reference("Status"), reference("Error")]}
    found["responses"][str(UNAVAILABLE)] = _response(
        "It drains, or is overloaded", {"application/json": _schema(either)}
    )
    return found


def _deadline(settings: ServeSettings) -> JSON:
    return {
        "name": DEADLINE_HEADER,
        "in": "header",
        "description": "Milliseconds; more than the service allows is taken as what it allows.",
        "schema": {"type": "integer", "minimum": 1},
        "example": settings.deadline_ms,
    }


def _body_types(settings: ServeSettings) -> JSON:
    files = {"type": "array", "items": _BINARY, "minItems": 1, "maxItems": settings.max_images}
    form = {
        "type": "object",
        "description": (
            "A part with a filename, or of the type image/* or application/octet-stream, is an image, whatever its "
            "name. Other parts are not looked at."
        ),
        "properties": {"image": files},
        "additionalProperties": True,
        "minProperties": 1,
    }
    return {
        **{kind: _schema(_BINARY) for kind in _IMAGE_TYPES},
        "application/octet-stream": {**_schema(_BINARY), "example": PICTURE_EXAMPLE},
        "multipart/form-data": {**_schema(form), "example": {"image": [PICTURE_EXAMPLE]}},
    }


def _errors(codes: tuple[Code, ...]) -> JSON:
    """One response a status, which says what each of its codes means."""
    by_status: dict[int, list[Code]] = {}
    for code in codes:
        by_status.setdefault(STATUS_OF_CODE[code], []).append(code)
    return {str(status): _error(status, found) for status, found in sorted(by_status.items())}


def _error(status: int, codes: list[Code]) -> JSON:
    response = _response(
        "; ".join(f"`{code}`: {_MEANINGS[code]}" for code in codes), _json("Error")
    )
    if status == UNAVAILABLE:
        response["headers"]["Retry-After"] = {
            "schema": {"type": "integer", "minimum": 1},
            "required": True,
        }
    return response


def _response(description: str, content: JSON) -> JSON:
    headers = {REQUEST_ID_HEADER: {"$ref": "#/components/headers/RequestId"}}
    return {"description": description, "headers": headers, "content": content}


def _json(name: str) -> JSON:
    return {"application/json": _schema(reference(name))}


def _schemaless() -> JSON:
    return {"application/json": _schema({"type": "object"})}


def _schema(schema: Any) -> JSON:
    return {"schema": schema}


def _text(media_type: str) -> JSON:
    return {media_type: _schema({"type": "string"})}


def _security(*, closed: bool) -> JSON:
    return {"security": [{"token": []}]} if closed else {}

"""The OpenAPI description, made from the types of the answers and the table of errors."""

from __future__ import annotations

import base64
import struct
from typing import Any

import msgspec

from motivnet import __version__
from motivnet_engines.serving.http.access import REQUEST_ID_HEADER
from motivnet_engines.serving.http.errors import STATUS_AND_MEANING, UNAVAILABLE
from motivnet_engines.serving.http.limits import DEADLINE_HEADER
from motivnet_engines.serving.http.middleware import PREDICT
from motivnet_engines.serving.responses import (
    ErrorBody,
    ErrorCode,
    ModelBody,
    PredictionBody,
    StatusBody,
)
from motivnet_engines.serving.settings import ServeSettings

JSON = dict[str, Any]

_ANY_PATH: tuple[ErrorCode, ...] = (
    "bad_request",
    "forbidden",
    "too_many_headers",
    "failed",
    "overloaded",
)
_PREDICTION: tuple[ErrorCode, ...] = (
    *_ANY_PATH,
    "too_slow",
    "too_large",
    "wrong_type",
    "bad_image",
    "draining",
    "late",
)
_BODIES = (PredictionBody, ModelBody, StatusBody, ErrorBody)
_TEXT: JSON = {"type": "string"}
_BINARY: JSON = {"type": "string", "format": "binary"}
_IMAGE_EXAMPLE = (
    struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 70, 0, 0, 54, 40, 2, 2, 1, 24, 0, 16, 0, 0, 0, 0)
    + b"@" * 16
).decode("ascii")
"""A grey BMP of two by two pixels, all of whose bytes are ASCII."""
_COMMANDS = """

    curl --data-binary @face.jpg -H 'Content-Type: image/jpeg'{token} {url}
    curl -F image=@face.jpg -F image=@other.png{token} {url}
    echo "{{\\"images\\": [\\"$(base64 -w0 face.jpg)\\"]}}" |
      curl --data-binary @- -H 'Content-Type: application/json'{token} {url}
"""


def openapi_document(settings: ServeSettings) -> JSON:
    """Return the OpenAPI 3.1 document; it has a security scheme if the service has a token."""
    _, schemas = msgspec.json.schema_components(_BODIES, ref_template="#/components/schemas/{name}")
    request_id = {
        "description": "As in an error and in the log: the client's own if short and plain.",
        "schema": _TEXT,
        "required": True,
    }
    components: JSON = {"schemas": schemas, "headers": {"RequestId": request_id}}
    if settings.token is not None:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    document: JSON = {
        "openapi": "3.1.0",
        "info": {
            "title": "MotivNet",
            "version": __version__,
            "description": "Predicts the emotion that each face in an image shows.",
        },
        "paths": _paths(settings),
        "components": components,
    }
    if settings.root_path:
        document["servers"] = [{"url": settings.root_path}]
    return document


def _paths(settings: ServeSettings) -> JSON:
    needs_token = settings.token is not None
    page_file = {
        **_operation(
            "page_file",
            "A file of the page",
            _content(_BINARY, "text/css", "text/html", "text/javascript", "image/svg+xml"),
            codes=(*_ANY_PATH, "not_found"),
        ),
        "parameters": [
            {"name": "name", "in": "path", "required": True, "schema": _TEXT, "example": "main.js"}
        ],
    }
    ready = _operation("ready", "Whether requests for predictions are accepted", _json(StatusBody))
    either = {"oneOf": [_reference(StatusBody), _reference(ErrorBody)]}
    ready["responses"][str(UNAVAILABLE)] = _response(
        "It shuts down, or is overloaded", _content(either, "application/json")
    )
    gets = {
        "/v1/model": _operation("model", "The model", _json(ModelBody), needs_token=needs_token),
        "/healthz": _operation("health", "Whether the process answers", _json(StatusBody)),
        "/readyz": ready,
        "/metrics": _operation(
            "metrics",
            "Counters for Prometheus",
            _content(_TEXT, "text/plain"),
            needs_token=needs_token,
        ),
        "/openapi.json": _operation(
            "openapi", "This description", _content({"type": "object"}, "application/json")
        ),
        "/": _operation("page", "The page for people", _content(_TEXT, "text/html")),
        "/page/{name}": page_file,
    }
    paths = {path: {"get": get, "head": _head(get)} for path, get in gets.items()}
    return {PREDICT: {"post": _predict(settings, needs_token=needs_token)}, **paths}


def _predict(settings: ServeSettings, *, needs_token: bool) -> JSON:
    files = {"type": "array", "items": _BINARY, "minItems": 1, "maxItems": settings.max_images}
    form = {
        "type": "object",
        "description": (
            "A part is an image if it has a filename, whatever its name, or the Content-Type of an "
            "image, or if it is called image, images, file or files; other parts are ignored."
        ),
        "properties": {"image": files},
        "additionalProperties": True,
        "minProperties": 1,
    }
    content = _content(_BINARY, "image/jpeg", "image/png", "image/webp", "image/bmp", "image/*")
    content["application/octet-stream"] = {"schema": _BINARY, "example": _IMAGE_EXAMPLE}
    content["application/json"] = {
        "schema": _encoded_images(settings.max_images),
        "example": {"images": [base64.b64encode(_IMAGE_EXAMPLE.encode()).decode()]},
    }
    content["multipart/form-data"] = {"schema": form, "example": {"image": [_IMAGE_EXAMPLE]}}
    deadline = {
        "name": DEADLINE_HEADER,
        "in": "header",
        "description": "Milliseconds; a value above the service's own deadline has no effect.",
        "schema": {"type": "integer", "minimum": 1},
        "example": round(settings.deadline_ms),
    }
    return {
        **_operation(
            "predict",
            "The faces of one image, or of several, and the emotion that each shows",
            _json(PredictionBody),
            codes=_PREDICTION,
            needs_token=needs_token,
        ),
        "description": (
            f"At most {settings.max_body_bytes:,} bytes and {settings.max_images} images. The "
            f"answer comes within {settings.deadline_ms:.0f} ms after the body's last byte, or "
            f"within the requested deadline if that is shorter.{_commands(settings)}"
        ),
        "parameters": [deadline],
        "requestBody": {"required": True, "content": content},
    }


def _encoded_images(max_images: int) -> JSON:
    image = {"type": "string", "contentEncoding": "base64", "description": "An image file."}
    return {
        "type": "object",
        "description": (
            'Read too: {"image": "BASE64"}, {"instances": [{"b64": "BASE64"}]}, data URLs, the '
            "alphabet for URLs, line breaks. No URL is fetched."
        ),
        "properties": {
            "images": {"type": "array", "items": image, "minItems": 1, "maxItems": max_images}
        },
        "required": ["images"],
    }


def _commands(settings: ServeSettings) -> str:
    token = "" if settings.token is None else " -H 'Authorization: Bearer TOKEN'"
    url = f"http://127.0.0.1:{settings.port or 8000}{settings.root_path}{PREDICT}"
    return _COMMANDS.format(token=token, url=url)


def _operation(
    name: str,
    summary: str,
    content: JSON,
    *,
    codes: tuple[ErrorCode, ...] = _ANY_PATH,
    needs_token: bool = False,
) -> JSON:
    if needs_token:
        codes = (*codes, "unauthorised")
    responses = {"200": _response(summary, content), **_errors(codes)}
    operation: JSON = {"operationId": name, "summary": summary, "responses": responses}
    if needs_token:
        operation["security"] = [{"token": []}]
    return operation


def _head(get: JSON) -> JSON:
    """Return the operation without the bodies of its responses."""
    responses = {
        status: {name: value for name, value in response.items() if name != "content"}
        for status, response in get["responses"].items()
    }
    return {**get, "operationId": f"{get['operationId']}_head", "responses": responses}


def _errors(codes: tuple[ErrorCode, ...]) -> JSON:
    """Return one response per status, which says what each of its codes means."""
    meanings: dict[int, list[str]] = {}
    for code in codes:
        status, meaning = STATUS_AND_MEANING[code]
        meanings.setdefault(status, []).append(f"`{code}`: {meaning}")
    responses = {
        str(status): _response("; ".join(lines), _json(ErrorBody))
        for status, lines in sorted(meanings.items())
    }
    if str(UNAVAILABLE) in responses:
        retry_after = {"schema": {"type": "integer", "minimum": 1}}
        responses[str(UNAVAILABLE)]["headers"]["Retry-After"] = retry_after
    return responses


def _response(description: str, content: JSON) -> JSON:
    headers = {REQUEST_ID_HEADER: {"$ref": "#/components/headers/RequestId"}}
    return {"description": description, "headers": headers, "content": content}


def _json(kind: type) -> JSON:
    return _content(_reference(kind), "application/json")


def _reference(kind: type) -> JSON:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _content(schema: JSON, *media_types: str) -> JSON:
    return {media_type: {"schema": schema} for media_type in media_types}

"""The images in the body of a request: the body itself, a form, or JSON with base64."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.datastructures import Headers

from motivnet.errors import MissingDependencyError
from motivnet.printable import printable
from motivnet_engines.serving.http.base64_images import images_from_json
from motivnet_engines.serving.http.errors import RequestError
from motivnet_engines.serving.http.forms import read_form
from motivnet_engines.serving.service import Upload

try:
    from python_multipart.multipart import parse_options_header
except ModuleNotFoundError as error:
    raise MissingDependencyError("python-multipart", extra="serve") from error

_FORM = "multipart/form-data"
_JSON = "application/json"
_BYTES = "application/octet-stream"


async def read_uploads(
    headers: Headers, pieces: AsyncIterator[bytes], *, max_images: int
) -> list[Upload]:
    """Return the images of a body in order, at least one.

    Raises:
        RequestError: If the body is neither an image nor a form or JSON with 1 to ``max_images``.
    """
    if headers.get("content-encoding", "").lower() not in ("", "identity"):
        raise RequestError("wrong_type", "a body is sent as it is, without Content-Encoding")
    media, options = parse_options_header(headers.get("content-type"))
    kind = media.decode("latin-1").lower()
    if kind == _FORM:
        return await read_form(pieces, options.get(b"boundary", b""), max_images=max_images)
    if not kind.startswith("image/") and kind not in (_BYTES, _JSON):
        message = f"send one image as image/* or {_BYTES}, or several as {_FORM} or {_JSON}"
        given = f"as {printable(kind, limit=60)}" if kind else "without a Content-Type"
        raise RequestError("wrong_type", f"{message}, not {given}")
    data = bytearray()
    async for piece in pieces:
        data += piece
    if not data:
        raise RequestError("bad_request", "the body is empty; send the bytes of an image file")
    if kind == _JSON:
        return [Upload(data=image) for image in images_from_json(data, max_images=max_images)]
    return [Upload(data=bytes(data))]

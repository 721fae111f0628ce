"""Images as base64: in JSON, and in those parts of a form that say so.

``{"images": ["BASE64", ...]}`` is the form that is described. The others cost nothing more to read:
what clients of other servers send (``image``, TensorFlow Serving's ``instances`` and ``b64``), data
URLs, the alphabet for URLs, line breaks, and base64 without its padding.
"""

from __future__ import annotations

import contextlib
import re
from codecs import BOM_UTF8

import msgspec

from motivnet.printable import printable
from motivnet.schema import Schema
from motivnet_engines.serving.http.errors import RequestError

_FOR_URLS = bytes.maketrans(b"-_", b"+/")
_SPACE = b" \t\r\n"
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_DATA_URL = re.compile(r"data:[^,]{0,200},", re.IGNORECASE)


class EncodedImage(Schema, frozen=True, kw_only=True):
    """An image as TensorFlow Serving writes it."""

    b64: str


_Image = str | EncodedImage
_Images = _Image | tuple[_Image, ...] | None


class _Body(Schema, frozen=True, kw_only=True):
    images: _Images = None
    image: _Images = None
    instances: _Images = None


def images_from_json(data: bytes | bytearray, *, max_images: int) -> list[bytes]:
    """Return the bytes of the images in a JSON body, 1 to ``max_images``.

    Raises:
        RequestError: If it is other JSON, holds more images, or something else than base64.
    """
    form = f'{{"images": ["BASE64", ...]}} with 1 to {max_images} images'
    # An image has at most four quotation marks. Nothing is built from JSON with millions of them,
    # and typed decoding ends at the first value of another kind; ``schema.decode`` would build all
    # of it, to look for keys that appear twice.
    if data.count(b'"') > 2 + 4 * max_images:
        raise RequestError("bad_request", f"the JSON of a request is {form}, and nothing else")
    try:
        body = msgspec.json.decode(data[3:] if data.startswith(BOM_UTF8) else data, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = printable(str(error), limit=200)
        raise RequestError("bad_request", f"the body is not {form}: {reason}") from error
    [*given] = (value for value in (body.images, body.image, body.instances) if value is not None)
    images = given[0] if len(given) == 1 else ()
    if not isinstance(images, tuple):
        images = (images,)
    if not 1 <= len(images) <= max_images:
        raise RequestError("bad_request", f"the JSON of a request is {form}")
    return [
        _decoded(
            image if isinstance(image, str) else image.b64,
            title=f"image {number}" if len(images) > 1 else "the image",
        )
        for number, image in enumerate(images, 1)
    ]


def _decoded(text: str, *, title: str) -> bytes:
    if _URL.match(text):
        message = f"{title} is a URL, and this service fetches nothing: send its bytes as base64"
        raise RequestError("bad_request", message)
    if head := _DATA_URL.match(text):
        if not head[0].lower().endswith(";base64,"):
            raise RequestError("bad_request", f"{title} is a data URL that is not in base64")
        text = text[head.end() :]
    return bytes_from_base64(text, title=title)


def bytes_from_base64(text: str, *, title: str) -> bytes:
    """Return the bytes that base64 stands for.

    Raises:
        RequestError: If it is not base64; ``title`` is what the message calls it.
    """
    with contextlib.suppress(msgspec.ValidationError):
        return msgspec.convert(text, bytes)  # five times as fast as binascii, and strict
    letters = text.encode().translate(_FOR_URLS, delete=_SPACE).rstrip(b"=")
    try:
        return msgspec.convert((letters + b"=" * (-len(letters) % 4)).decode(), bytes)
    except msgspec.ValidationError as error:
        raise RequestError("bad_request", f"{title} is not base64") from error

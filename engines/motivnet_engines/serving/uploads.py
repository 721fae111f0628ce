"""From the body of a request to the images in it; everything stays in memory, and nothing is decoded here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from motivnet.errors import MissingDependencyError
from motivnet_engines.serving.refusals import RefusedError

try:
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser, parse_options_header
except ModuleNotFoundError as error:
    raise MissingDependencyError("python-multipart", extra="serve") from error

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_FORM = "multipart/form-data"
_LONGEST_NAME = 255
_LONGEST_BOUNDARY = 70  # RFC 2046, section 5.1.1
_FIELDS = 16
"""Of a form beside its files; they are not looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """The bytes of an image file, and the name that the client gave it."""

    data: bytes
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyType:
    """What a body is: one image, or a form with this boundary."""

    boundary: bytes | None = None


def body_type(content_type: str | None, content_encoding: str | None) -> BodyType:
    """What the headers say of a body.

    Raises:
        RefusedError: If it is neither an image nor a form with files.
    """
    if content_encoding not in (None, "", "identity"):
        raise RefusedError("wrong_type", "a body is sent as it is, without Content-Encoding")
    media, options = parse_options_header(content_type)
    kind = media.decode("latin-1")
    if kind == _FORM:
        boundary = options.get(b"boundary", b"")
        if not 0 < len(boundary) <= _LONGEST_BOUNDARY:
            raise RefusedError(
                "bad_request", f"{_FORM} needs a boundary of 1 to {_LONGEST_BOUNDARY} characters"
            )
        return BodyType(boundary=boundary)
    if _is_image(kind):
        return BodyType()
    raise RefusedError(
        "wrong_type", f"send an image as image/* or application/octet-stream, or several as {_FORM}"
    )


def uploads_of_body(body: bytes, kind: BodyType, *, max_images: int) -> list[Upload]:
    """The images of a body in their order, at least one.

    Raises:
        RefusedError: If there is none, or more than ``max_images``, or it is not a form.
    """
    if kind.boundary is None:
        if not body:
            raise RefusedError("bad_request", "the body is empty; send the bytes of an image file")
        return [Upload(data=body)]
    form = _Form(max_images=max_images)
    try:
        parser = MultipartParser(kind.boundary, form.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise RefusedError(
            "bad_request", "the body is not multipart/form-data with the boundary given"
        ) from error
    if not form.complete:
        raise RefusedError("bad_request", "the form ends before its last boundary")
    if not form.uploads:
        raise RefusedError(
            "bad_request", "the form holds no image; give each a filename, or the type image/*"
        )
    return form.uploads


def _is_image(media_type: str) -> bool:
    return media_type.startswith("image/") or media_type == "application/octet-stream"


class _Form:
    """Collects the files of a form from the parser's callbacks."""

    def __init__(self, *, max_images: int) -> None:
        self.uploads: list[Upload] = []
        self.complete = False
        self._max_images = max_images
        self._fields = 0
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = self._type = b""
        self._data = bytearray()

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_part_data": lambda data, start, end: self._data.extend(memoryview(data)[start:end]),
            "on_part_end": self._end,
            "on_end": self._complete,
        }

    def _begin(self) -> None:
        self._disposition = self._type = b""
        self._data = bytearray()

    def _end_header(self) -> None:
        header = self._header.lower()
        if header == b"content-disposition":
            self._disposition = bytes(self._value)
        elif header == b"content-type":
            self._type = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _end(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"filename")
        media, _ = parse_options_header(self._type)
        if name is None and not _is_image(media.decode("latin-1")):
            self._fields += 1
        else:
            self.uploads.append(
                Upload(data=bytes(self._data), name=None if name is None else _shown_name(name))
            )
        if len(self.uploads) > self._max_images:
            raise RefusedError("bad_request", f"a request holds at most {self._max_images} images")
        if self._fields > _FIELDS:
            raise RefusedError(
                "bad_request", f"a form holds at most {_FIELDS} fields beside its files"
            )

    def _complete(self) -> None:
        self.complete = True


def _shown_name(name: bytes) -> str | None:
    """A file's name without a path and control characters; it is given back to the client and used for nothing else."""
    text = name.decode("utf-8", errors="replace").replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(letter for letter in text if letter.isprintable())[:_LONGEST_NAME] or None

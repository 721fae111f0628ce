"""The images of a form: multipart/form-data of RFC 7578, as clients write it.

python-multipart finds the parts. What a part is, its headers say, which are read as those of a mail
are: browsers, curl and others differ in quoting, in case, and in names that are not ASCII.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email.message import Message
from email.utils import collapse_rfc2231_value

from motivnet.errors import MissingDependencyError
from motivnet.printable import printable
from motivnet_engines.serving.http.base64_images import bytes_from_base64
from motivnet_engines.serving.http.errors import RequestError
from motivnet_engines.serving.service import Upload

try:
    from python_multipart import MultipartParser
    from python_multipart.exceptions import FormParserError
except ModuleNotFoundError as error:
    raise MissingDependencyError("python-multipart", extra="serve") from error

_MAX_BOUNDARY = 70  # RFC 2046, section 5.1.1
_MAX_PREAMBLE = 1024
_MAX_FIELDS = 16
_MAX_FIELD_BYTES = 65_536
_IMAGE_NAME = re.compile(r"(?:image|file)s?(?:\[\d*\])?", re.IGNORECASE)
_PLAIN_ENCODINGS = frozenset(("", "binary", "8bit", "7bit"))


async def read_form(
    pieces: AsyncIterator[bytes], boundary: bytes, *, max_images: int
) -> list[Upload]:
    """Return the images of a form in order, at least one.

    Raises:
        RequestError: If it is not a whole form with 1 to ``max_images`` images.
    """
    if not 0 < len(boundary) <= _MAX_BOUNDARY:
        message = f"a form needs a boundary of 1 to {_MAX_BOUNDARY} characters"
        raise RequestError("bad_request", message)
    form = _Form(boundary, max_images=max_images)
    try:
        async for piece in _from_first_boundary(pieces, boundary):
            form.parser.write(piece)
    except FormParserError as error:
        raise RequestError("bad_request", "the form cannot be read; it is damaged") from error
    if not form.ended:
        raise RequestError("bad_request", "the form ends before its last boundary")
    if not form.uploads:
        raise RequestError("bad_request", form.missing_image())
    return form.uploads


async def _from_first_boundary(
    pieces: AsyncIterator[bytes], boundary: bytes
) -> AsyncIterator[bytes]:
    """Leave out what RFC 2046 allows in front of the first boundary."""
    first = re.compile(rb"(?:\A|\n)(--" + re.escape(boundary) + rb")(.)", re.DOTALL)
    longest = _MAX_PREAMBLE + _MAX_BOUNDARY
    start: bytes | None = b""
    async for piece in pieces:
        if start is None:
            yield piece
            continue
        start += piece
        if found := first.search(start, 0, longest):
            if found[2] == b"\n":
                message = "a line of a form's head ends with CR and LF, in this form with LF alone"
                raise RequestError("bad_request", message)
            yield start[found.start(1) :]
            start = None
        elif len(start) > longest:
            raise RequestError("bad_request", "the form does not begin with its boundary")


@dataclass(slots=True)
class _Part:
    """A part: an image if a file is in it by its head, or by its name; else a field."""

    headers: Message = field(default_factory=Message)
    name: str = ""
    filename: str | None = None
    is_image: bool = False
    pieces: list[bytes] = field(default_factory=list)
    size: int = 0

    def read_headers(self) -> None:
        """Decide what the part is."""
        try:
            parameters = {
                # The extended ones (filename*=UTF-8''...) come last, and win.
                key.lower(): collapse_rfc2231_value(value)
                for key, value in self.headers.get_params([], "content-disposition")
            }
        except (LookupError, TypeError, ValueError) as error:  # an encoding that is none
            message = "the Content-Disposition of a part of the form cannot be read"
            raise RequestError("bad_request", message) from error
        self.name = parameters.get("name", "")
        self.filename = parameters.get("filename")
        kind = self.headers.get_content_type() if "content-type" in self.headers else ""
        if kind.startswith("multipart/"):
            message = f"the part {self.shown} holds several files; give each a part of its own"
            raise RequestError("bad_request", message)
        self.is_image = (
            self.filename is not None
            or kind.startswith("image/")
            or kind == "application/octet-stream"
            or _IMAGE_NAME.fullmatch(self.name) is not None
        )

    @property
    def shown(self) -> str:
        """What a message calls the part."""
        return printable(repr(self.name), limit=60)


class _Form:
    """What python-multipart calls for the parts of one form; ``uploads`` are its images."""

    def __init__(self, boundary: bytes, *, max_images: int) -> None:
        self.uploads: list[Upload] = []
        self.ended = False
        self._max_images = max_images
        self._images = 0
        self._fields: list[str] = []
        self._part = _Part()
        self._header_name = self._header_value = b""
        self.parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._read_header_name,
                "on_header_value": self._read_header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._read_data,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    def missing_image(self) -> str:
        """Return the message about a form without an image."""
        wanted = "a part is one if it has a filename, or is called image"
        found = f"; it has {', '.join(self._fields)}" if self._fields else ""
        return f"the form holds no image: {wanted}{found}"

    def _begin(self) -> None:
        self._part = _Part()

    def _read_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _read_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        try:
            value = self._header_value.decode()
        except UnicodeDecodeError:
            value = self._header_value.decode("latin-1")
        self._part.headers[self._header_name.decode("latin-1")] = value.strip()
        self._header_name = self._header_value = b""

    def _end_headers(self) -> None:
        self._part.read_headers()
        if self._part.is_image:
            self._images += 1
        else:
            self._fields.append(self._part.shown)
        if self._images > self._max_images:
            raise RequestError("bad_request", f"a request has at most {self._max_images} images")
        if len(self._fields) > _MAX_FIELDS:
            message = f"a form has at most {_MAX_FIELDS} fields besides its images"
            raise RequestError("bad_request", message)

    def _read_data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        part.size += end - start
        if part.is_image:
            part.pieces.append(data[start:end])
        elif part.size > _MAX_FIELD_BYTES:  # perhaps an image, which must not be left out silently
            raise RequestError(
                "bad_request",
                f"the part {part.shown} holds more than {_MAX_FIELD_BYTES:,} bytes and is not "
                "known to be an image: give it a filename, or call it image",
            )

    def _end_part(self) -> None:
        part = self._part
        # An input of a form in which no file was chosen has an empty filename and no bytes.
        if part.is_image and (part.size or part.filename != ""):
            name = _shown_name(part.filename)
            self.uploads.append(Upload(data=_content(part), name=name))

    def _end(self) -> None:
        self.ended = True


def _content(part: _Part) -> bytes:
    data = b"".join(part.pieces)
    encoding = str(part.headers.get("content-transfer-encoding", "")).lower()
    if encoding == "base64":
        return bytes_from_base64(data.decode("latin-1"), title=f"the part {part.shown}")
    if encoding not in _PLAIN_ENCODINGS:
        message = f"the part {part.shown} is sent as it is, or in base64"
        raise RequestError("bad_request", f"{message}, not as {printable(encoding, limit=60)}")
    if part.filename is None and data.isascii() and data.decode().isprintable():
        name = part.name or "image"
        message = f"the part {part.shown} holds text and no file; with curl: -F {name}=@photo.jpg"
        raise RequestError("bad_request", printable(message))
    return data


def _shown_name(name: str | None) -> str | None:
    """Return a file name without its path and control characters; it only goes to the client."""
    text = (name or "").replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(letter for letter in text if letter.isprintable())[:255] or None

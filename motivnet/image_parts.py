"""Select the parts of an image file that its pixels need, before a decoder sees any of them.

A file can hold millions of empty chunks, and texts of a few bytes that decompress to gigabytes.
Pillow unpacks them in Python, which holds the interpreter for seconds. Here they are counted in the
bytes, and only headers, tables and compressed pixels pass. Errors follow the name of the image.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from motivnet.errors import ImageError

MAX_JPEG_SCANS = 64
"""Each costs a pass over the whole image; a progressive JPEG has about ten."""

MAX_JPEG_SEGMENTS = 1_024
"""Each has up to 64 kB, so no photo within the limit of bytes needs as many."""

MAX_JPEG_TABLES = 131_072
"""Bytes of tables, which Pillow reads in Python; a progressive photo has about 2,000."""

MAX_CHUNKS = 4_096
MIN_CHUNK_BYTES = 1_024
"""PNG and WebP: so many chunks, and one more for every so many bytes; libpng writes 8,192 each."""

_MAX_PROFILE_BYTES = 1 << 18
_WINDOW = 1 << 20
"""Bytes per search, during which no other thread runs."""

_HEADER_MARKER = re.compile(rb"\xff[^\x00\xff]")
_SCAN_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_EOI, _SOS, _APP0, _APP1, _APP14 = 0xD9, 0xDA, 0xE0, 0xE1, 0xEE
_NO_LENGTH = frozenset((0x01, *range(0xD0, 0xD9), _EOI))
_TABLES = frozenset((0xC4, 0xCC, 0xDB, 0xDD))
_FRAMES = frozenset(range(0xC0, 0xD0)) - _TABLES
_EXIF_HEADER = b"Exif\x00\x00"

_PNG_PIXELS = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"))
_RAW_EXIF = b"Raw profile type exif\x00"
"""ImageMagick's EXIF in a PNG: a name, a length and hexadecimal digits, compressed."""

_HEIF_METADATA = re.compile(rb"(?s)(infe(?:\x02.{7}|\x03.{9}))(?:Exif|mime)")
"""An entry in the list of a HEIF file's items (ISO/IEC 14496-12, 8.11.6), up to its type."""

_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=\"|>)([1-8])")
_MAX_EXIF_ENTRIES = 1_000


@dataclass(slots=True)
class ImageParts:
    """The bytes to decode, and the metadata that may give the orientation."""

    pixels: bytes
    exif: bytes = b""
    xmp: bytes = b""

    @property
    def orientation(self) -> int:
        """From 1 to 8 as in EXIF; 1, which is not rotated, if there is none or it is not valid."""
        found = _exif_orientation(self.exif.removeprefix(_EXIF_HEADER))
        if found is None and (said := _XMP_ORIENTATION.search(self.xmp)):
            found = int(said[1])
        return found or 1


def jpeg_parts(data: bytes) -> ImageParts:
    """Return the first image of a JPEG file, without a gain map or video after its end.

    Raises:
        ImageError: If there are more segments, scans or tables than any photo has.
        ValueError: If a length is impossible.
    """
    parts, kept = ImageParts(b""), [data[:2]]
    scans = tables = 0
    for count, (marker, start, end) in enumerate(_jpeg_segments(data), start=1):
        body = data[start:end]
        scans += marker == _SOS
        tables += end - start if marker in _TABLES else 0
        if scans > MAX_JPEG_SCANS:
            raise _excess(f"more than {MAX_JPEG_SCANS} JPEG scans")
        if count > MAX_JPEG_SEGMENTS or tables > MAX_JPEG_TABLES:
            raise _excess("more segments or tables than any photo")
        if _is_needed(marker, body):
            kept.append(body)
        elif marker == _APP1:
            _keep_jpeg_metadata(parts, body[4:])
    parts.pixels = b"".join(kept)
    return parts


def png_parts(data: bytes) -> ImageParts:
    """Return the image of a PNG file, without texts, profiles and further frames.

    Raises:
        ImageError: If there are more chunks than the bytes can need.
    """
    parts, kept = ImageParts(b""), [data[:8]]
    for kind, start, end in _chunks(data, 8):
        if kind in _PNG_PIXELS:
            kept.append(data[start:end])
        elif kind in (b"eXIf", b"iTXt", b"tEXt", b"zTXt"):
            _keep_png_metadata(parts, kind, data[start + 8 : end - 4])
    parts.pixels = b"".join(kept)
    return parts


def webp_parts(data: bytes) -> ImageParts:
    """Return a WebP file unchanged, because its decoder is native code, and its metadata.

    Raises:
        ImageError: If there are more chunks than the bytes can need.
    """
    parts = ImageParts(data)
    for kind, start, end in _chunks(data, 12, riff=True):
        if kind == b"EXIF":
            parts.exif = parts.exif or data[start + 8 : end]
        elif kind == b"XMP ":
            parts.xmp = parts.xmp or data[start + 8 : end]
    return parts


def heif_parts(data: bytes) -> ImageParts:
    """Return a HEIC or AVIF file whose EXIF and XMP no decoder recognises.

    Such a file tells its orientation beside the picture, and that of EXIF must not be applied too
    (ISO/IEC 23008-12, A.2.4). Pillow would parse the EXIF and warn of every damaged entry.
    """
    return ImageParts(_HEIF_METADATA.sub(rb"\1free", data))


def bmp_parts(data: bytes) -> ImageParts:
    """Return a BMP file unchanged.

    Raises:
        ImageError: If it is run-length encoded, which photos are not: Pillow decodes that in
            Python, which takes seconds per megabyte and blocks all other threads.
    """
    if data[30:34] in (b"\x01\0\0\0", b"\x02\0\0\0"):
        raise ImageError("is a run-length encoded BMP, which is not read; save it as PNG")
    return ImageParts(data)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the marker, start and end of each segment; a scan includes its compressed data."""
    position, pattern = 2, _HEADER_MARKER
    while (start := _next_marker(pattern, data, position)) is not None:
        marker = data[start + 1]
        position, pattern = _segment_end(data, start), _HEADER_MARKER
        if marker == _SOS:
            found = _next_marker(_SCAN_MARKER, data, position)
            position, pattern = len(data) if found is None else found, _SCAN_MARKER
        yield marker, start, position
        if marker == _EOI:
            return


def _segment_end(data: bytes, start: int) -> int:
    if data[start + 1] in _NO_LENGTH:
        return start + 2
    length = int.from_bytes(data[start + 2 : start + 4], "big")
    if length < 2 or start + 2 + length > len(data):
        raise ValueError("a JPEG segment has an impossible length")
    return start + 2 + length


def _next_marker(pattern: re.Pattern[bytes], data: bytes, start: int) -> int | None:
    """Return the position of the next marker, None if there is none."""
    for window in range(start, len(data), _WINDOW):
        found = pattern.search(data, window, window + _WINDOW + 1)
        if found is not None:
            return found.start()
    return None


def _is_needed(marker: int, body: bytes) -> bool:
    """Return whether a decoder needs a segment; of the application's, those about colours."""
    if marker in (_APP0, _APP14):
        return body.startswith((b"JFIF\x00", b"Adobe"), 4)
    return marker in _FRAMES or marker in _TABLES or marker in (_SOS, _EOI)


def _keep_jpeg_metadata(parts: ImageParts, content: bytes) -> None:
    if content.startswith(_EXIF_HEADER):
        parts.exif = parts.exif or content
    elif content.startswith(b"http://ns.adobe.com/xap/1.0/\x00"):
        parts.xmp = parts.xmp or content


def _keep_png_metadata(parts: ImageParts, kind: bytes, content: bytes) -> None:
    if kind == b"eXIf":
        parts.exif = parts.exif or content
    elif kind == b"iTXt":
        if content.startswith(b"XML:com.adobe.xmp\x00"):
            parts.xmp = parts.xmp or content
    elif content.startswith(_RAW_EXIF):
        text = content.removeprefix(_RAW_EXIF)
        parts.exif = parts.exif or _raw_exif(text, compressed=kind == b"zTXt")


def _chunks(data: bytes, start: int, *, riff: bool = False) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind, start and end of each chunk of a PNG or RIFF file; the last may be cut."""
    layout, trailer = ("<4sI", 0) if riff else (">I4s", 4)
    left = MAX_CHUNKS + len(data) // MIN_CHUNK_BYTES
    while start + 8 <= len(data):
        if not left:
            raise _excess("more chunks than any image of its size")
        left -= 1
        first, second = struct.unpack_from(layout, data, start)
        kind, length = (first, second) if riff else (second, first)
        end = start + 8 + length + trailer
        yield kind, start, end
        if kind == b"IEND":
            return
        start = end + (length & 1 if riff else 0)


def _exif_orientation(exif: bytes) -> int | None:
    """Return the tag in the first directory of a TIFF header, None if absent or not valid."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 8:
        return None
    directory = int(struct.unpack_from(f"{order}I", exif, 4)[0])
    entries = exif[directory + 2 : directory + 2 + 12 * _MAX_EXIF_ENTRIES]
    if len(entries) < 12:
        return None
    count = min(int(struct.unpack_from(f"{order}H", exif, directory)[0]), len(entries) // 12)
    for tag, kind, number, value in struct.iter_unpack(f"{order}HHI4s", entries[: 12 * count]):
        if (tag, kind, number) == (0x0112, 3, 1):  # Orientation, one SHORT
            found = int(struct.unpack_from(f"{order}H", value)[0])
            return found if 1 <= found <= 8 else None
    return None


def _raw_exif(text: bytes, *, compressed: bool) -> bytes:
    """Return the EXIF in a text of ImageMagick, empty if it is not valid."""
    try:
        if compressed:
            text = zlib.decompressobj().decompress(text[1:], _MAX_PROFILE_BYTES)
        return bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
    except (zlib.error, ValueError):
        return b""


def _excess(what: str) -> ImageError:
    return ImageError(f"has {what}; save it again as an ordinary image")

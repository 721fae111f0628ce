"""The safe image decoder that training, calibration, benchmarks and prediction use.

The first bytes choose one of four formats, never the file's name. The size is checked in the
header, before anything is decoded. EXIF orientation is applied. Every mode has one defined result
in 8-bit RGB:

* 1-bit, grey and palette images take their colours, 16-bit samples keep their high byte;
* transparent pixels are composited on white, the colour with which ``square-white-pad`` fills;
* CMYK (and YCCK) is converted without a colour profile; embedded profiles are ignored;
* the first frame of an animation is read.

A flipped bit in a JPEG or BMP often decodes to other pixels without any error.
"""

from __future__ import annotations

import contextlib
import io
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from motivnet.errors import ImageError
from motivnet.files import read_bytes
from motivnet.image_parts import ImageParts, bmp_parts, jpeg_parts, png_parts, webp_parts
from motivnet.printable import one_line

IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp"))
"""Suffixes of files that are searched in a folder; the decoder goes by the first bytes."""

MAX_BYTES = 20_000_000
MAX_PIXELS = 40_000_000
MAX_SIDE = 16_384

_TOO_LARGE = (
    f"exceeds {MAX_PIXELS // 10**6} million pixels or {MAX_SIDE:,} pixels per side; make it smaller"
)
_STRIP_PIXELS = 1 << 20
_WHITE = 255

# The classes are called directly because Image.open has its own process-wide limit.
_FORMATS: tuple[tuple[bytes, type[ImageFile], Callable[[bytes], ImageParts]], ...] = (
    (rb"\xff\xd8\xff", JpegImageFile, jpeg_parts),
    (rb"\x89PNG\r\n\x1a\n", PngImageFile, png_parts),
    (rb"(?s:RIFF....WEBPVP8)", WebPImageFile, webp_parts),
    (rb"BM", BmpImageFile, bmp_parts),
)
"""The first bytes of a file, its decoder, and what selects the parts for it."""

# What Pillow's plug-ins raise for a damaged file; a warning may be an exception.
_DECODER_FAILURES = (
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    Warning,
    struct.error,
    zlib.error,
)

_ROTATIONS: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: pixels[::-1].transpose(1, 0, 2),
    7: lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    8: lambda pixels: pixels[:, ::-1].transpose(1, 0, 2),
}
"""What rotates and mirrors the stored pixels, by EXIF orientation (CIPA DC-008, tag 0x0112)."""


def read_image(path: Path | str) -> NDArray[np.uint8]:
    """Return the 8-bit RGB pixels ``(H, W, 3)`` of an image file, rotated by its orientation.

    Raises:
        FileError: If it is missing, not a regular file or larger than ``MAX_BYTES``.
        ImageError: If it is not a JPEG, PNG, WebP or BMP image, is damaged, or exceeds the limits.
    """
    return decode_image(read_bytes(Path(path), max_bytes=MAX_BYTES), name=str(path))


def decode_image(data: bytes, *, name: str) -> NDArray[np.uint8]:
    """Return the 8-bit RGB pixels ``(H, W, 3)`` of an encoded image, rotated by its orientation.

    Raises:
        ImageError: If it is not a JPEG, PNG, WebP or BMP image, is damaged, or exceeds the limits.
    """
    with _opened(data, name) as (image, orientation):
        image.load()
        pixels = _rgb_pixels(image)
    rotate = _ROTATIONS.get(orientation)
    return pixels if rotate is None else np.ascontiguousarray(rotate(pixels))


def image_size(data: bytes, *, name: str) -> tuple[int, int]:
    """Return the stored width and height of an encoded image; its pixels are not decoded.

    Raises:
        ImageError: As ``decode_image``, for what can be seen in the header.
    """
    with _opened(data, name) as (image, _):
        return image.size


@contextlib.contextmanager
def _opened(data: bytes, name: str) -> Iterator[tuple[ImageFile, int]]:
    """Give an image within the limits and its orientation; failures become an ImageError."""
    try:
        decoder, parts = _decoder_and_parts(data)
        with decoder(io.BytesIO(parts.pixels)) as image:
            width, height = image.size
            if width * height > MAX_PIXELS or max(image.size) > MAX_SIDE:
                raise ImageError(f"({width:,} x {height:,} pixels) {_TOO_LARGE}")
            yield image, parts.orientation
    except ImageError as error:
        raise ImageError(f"{name} {error}") from error
    except Image.DecompressionBombError as error:  # of a WebP, before its size is known here
        raise ImageError(f"{name} {_TOO_LARGE}") from error
    except _DECODER_FAILURES as error:
        reason = one_line(error) or type(error).__name__
        raise ImageError(f"{name} is damaged or not a valid image: {reason}") from error


def _decoder_and_parts(data: bytes) -> tuple[type[ImageFile], ImageParts]:
    if not data:
        raise ImageError("is empty, not an image")
    if len(data) > MAX_BYTES:
        raise ImageError(f"has {len(data):,} bytes, more than the {MAX_BYTES:,} allowed")
    for magic, decoder, parts_of in _FORMATS:
        if re.match(magic, data):
            return decoder, parts_of(data)
    raise ImageError("is not a JPEG, PNG, WebP or BMP image; convert it to one of these")


def _rgb_pixels(image: Image.Image) -> NDArray[np.uint8]:
    """Return 8-bit RGB pixels, converted in strips so that only one whole copy is made."""
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        pixels[top:bottom] = _rgb_strip(image.crop((0, top, width, bottom)))
    return pixels


def _rgb_strip(strip: Image.Image) -> NDArray[np.uint8]:
    transparent: Any = strip.info.get("transparency")
    if strip.mode == "I;16":
        return _rgb_from_16_bit(np.asarray(strip), transparent)
    if strip.mode in ("LA", "PA", "RGBA") or transparent is not None:
        return _on_white(np.asarray(strip.convert("RGBA")))
    return np.asarray(strip.convert("RGB"))


def _rgb_from_16_bit(grey: NDArray[np.uint16], transparent: int | None) -> NDArray[np.uint8]:
    """Return grey pixels by their high byte; the transparent level becomes white."""
    levels = (grey >> 8).astype(np.uint8)
    if transparent is not None:
        levels[grey == transparent] = _WHITE
    return np.repeat(levels[:, :, None], 3, axis=2)


def _on_white(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return RGBA pixels over white: ``alpha * colour + (1 - alpha) * 255``, rounded."""
    alpha = rgba[:, :, 3:].astype(np.uint16)
    blended: NDArray[np.uint16] = alpha * rgba[:, :, :3] + (_WHITE - alpha) * np.uint16(_WHITE)
    return ((blended + 127) // 255).astype(np.uint8)

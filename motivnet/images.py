"""The safe image decoder that training, calibration, benchmarks and prediction use.

The first bytes choose the format, never the file's name. The size is checked in the header, before
anything is decoded. The orientation is applied. Every mode has one defined result in 8-bit RGB:

* 1-bit, grey and palette images take their colours, 16-bit samples keep their high byte;
* transparent pixels are composited on white, the colour with which ``square-white-pad`` fills;
* CMYK (and YCCK) is converted without a colour profile; embedded profiles are ignored, so that
  Display P3 is read as sRGB, a little less saturated;
* the first frame of an animation is read.

A flipped bit in a JPEG or BMP often decodes to other pixels without any error.
"""

from __future__ import annotations

import contextlib
import io
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from motivnet.errors import FileError, FileTooLargeError, ImageError
from motivnet.files import read_bytes
from motivnet.image_formats import (
    ImageFormat,
    advice_on,
    format_name,
    image_format,
    names_of_formats,
    video_name,
)
from motivnet.printable import one_line

IMAGE_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp"),
        *(".tif", ".tiff", ".avif", ".heic", ".heif", ".hif"),
    }
)
"""Of files that are taken for images in folders; the decoder goes by the first bytes.

HEIC needs an extra, and one that cannot be decoded is said, not left out."""

MAX_BYTES = 20_000_000
MAX_PIXELS = 40_000_000
MAX_SIDE = 16_384
"""What strangers' pictures may have; a larger image is decoded alone, and a JPEG reduced."""

DEFAULT_MAX_PIXELS = 250_000_000
"""Of a user's own picture: above the 200 million of a phone's."""

_REDUCTIONS = (8, 4, 2)
_STRIP_PIXELS = 1 << 20
_WHITE = 255

_LARGE = threading.Lock()
"""Held while an image above ``MAX_PIXELS`` is decoded: that takes up to 7 bytes per pixel."""

# What Pillow's plug-ins raise for a damaged file; a warning may be an exception.
_DECODER_FAILURES = (
    ArithmeticError,
    AttributeError,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLimits:
    """What is refused before anything is decoded.

    Args:
        only_common: Whether HEIC, AVIF and TIFF are refused. The decoder of AVIF allocates what the
            compressed picture says, up to 268 million pixels, whatever the header says.
        advice: What an error says to do about an image that is too large.
    """

    max_bytes: int = DEFAULT_MAX_PIXELS
    max_pixels: int = DEFAULT_MAX_PIXELS
    max_side: int = 65_535
    only_common: bool = False
    advice: str = "make it smaller"


USER_LIMITS = ImageLimits()
STRICT_LIMITS = ImageLimits(
    max_bytes=MAX_BYTES, max_pixels=MAX_PIXELS, max_side=MAX_SIDE, only_common=True
)
"""For images of strangers, as those that clients of a service send."""


class EncodedImage:
    """An image within the limits, of which only the header was read.

    Args:
        name: What errors call it.

    Attributes:
        width: Of the upright image.
        height: Of the upright image.

    Raises:
        ImageError: If it is not an image of a known format, is damaged, or exceeds the limits.
    """

    def __init__(self, data: bytes, *, name: str, limits: ImageLimits = USER_LIMITS) -> None:
        self._name = name
        with _failures(name, limits):
            self._format = _format_within(data, limits)
            parts = self._format.parts(data)
            self._data = parts.pixels
            self._image: ImageFile | None = self._format.open(io.BytesIO(self._data))
            self.stored_size = self._image.size
            _check_size(self.stored_size, limits)
            # Pillow tells the orientation of an AVIF image in EXIF of its own.
            parts.exif = parts.exif or self._image.info.get("exif") or b""
            self._rotate = _ROTATIONS.get(parts.orientation)
        width, height = self.stored_size
        is_sideways = parts.orientation >= 5
        self.width, self.height = (height, width) if is_sideways else (width, height)
        self._is_large = width * height > MAX_PIXELS
        self._can_reduce = self._is_large and isinstance(self._image, JpegImageFile)

    def turn(self) -> AbstractContextManager[object]:
        """Return a lock to hold while the pixels are needed, so that memory is bounded."""
        return _LARGE if self._is_large else contextlib.nullcontext()

    def reduction(self, factor: float) -> int:
        """Return the ``reduction`` for ``pixels`` if the sides are larger than needed by a factor.

        It is 1, 2, 4 or 8, and at most the factor. Only JPEG above ``MAX_PIXELS`` is reduced.
        """
        choices = _REDUCTIONS if self._can_reduce else ()
        return next((choice for choice in choices if choice <= factor), 1)

    def pixels(self, reduction: int = 1) -> NDArray[np.uint8]:
        """Return the upright 8-bit RGB pixels ``(H, W, 3)``.

        Args:
            reduction: By this, of the method of that name, the sides are divided.

        Raises:
            ImageError: If the image is damaged.
        """
        with _failures(self._name, USER_LIMITS):
            image, self._image = self._image or self._format.open(io.BytesIO(self._data)), None
            if reduction > 1:
                width, height = self.stored_size
                image.draft(None, (width // reduction, height // reduction))
            image.load()
            pixels = _rgb_pixels(image)
        return pixels if self._rotate is None else np.ascontiguousarray(self._rotate(pixels))


def read_image(path: Path | str, *, limits: ImageLimits = USER_LIMITS) -> NDArray[np.uint8]:
    """Return the upright 8-bit RGB pixels ``(H, W, 3)`` of an image file.

    Raises:
        FileError: If it is missing, not a regular file or larger than the limits allow.
        ImageError: As ``decode_image``.
    """
    return decode_image(read_encoded(Path(path), limits=limits), name=str(path), limits=limits)


def read_encoded(path: Path, *, limits: ImageLimits = USER_LIMITS) -> bytes:
    """Return the bytes of an image file.

    Raises:
        FileError: If it is missing, not a regular file or larger than the limits allow.
    """
    try:
        return read_bytes(path, max_bytes=limits.max_bytes)
    except FileTooLargeError as error:
        raise FileError(f"{error}; {limits.advice}") from error


def decode_image(data: bytes, *, name: str, limits: ImageLimits = USER_LIMITS) -> NDArray[np.uint8]:
    """Return the upright 8-bit RGB pixels ``(H, W, 3)`` of an encoded image.

    Raises:
        ImageError: If it is not an image of a known format, is damaged, or exceeds the limits.
    """
    image = EncodedImage(data, name=name, limits=limits)
    with image.turn():
        return image.pixels()


def image_size(data: bytes, *, name: str, limits: ImageLimits = USER_LIMITS) -> tuple[int, int]:
    """Return the stored width and height of an encoded image; its pixels are not decoded.

    Raises:
        ImageError: As ``decode_image``, for what can be seen in the header.
    """
    return EncodedImage(data, name=name, limits=limits).stored_size


@contextlib.contextmanager
def _failures(name: str, limits: ImageLimits) -> Iterator[None]:
    """Turn whatever a decoder raises into an ImageError that names the image."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{name} {error}") from error
    except Image.DecompressionBombError as error:  # Pillow's own limit for WebP
        most = min(limits.max_pixels, 2 * (Image.MAX_IMAGE_PIXELS or limits.max_pixels))
        raise ImageError(f"{name} exceeds {_count(most)} pixels; {limits.advice}") from error
    except _DECODER_FAILURES as error:
        reason = one_line(error) or type(error).__name__
        raise ImageError(f"{name} is damaged or not a valid image: {reason}") from error


def _format_within(data: bytes, limits: ImageLimits) -> ImageFormat:
    if not data:
        raise ImageError("is empty, not an image")
    if len(data) > limits.max_bytes:
        raise ImageError(
            f"has {len(data):,} bytes, more than the {limits.max_bytes:,} allowed; {limits.advice}"
        )
    found = image_format(data)
    if found is not None and (found.is_common or not limits.only_common):
        return found
    if (what := format_name(data)) is None:
        read = names_of_formats(common=limits.only_common)
        raise ImageError(f"is not a {read} image; convert it to one of these")
    if video_name(data) is not None:
        raise ImageError(f"is {what}, not a picture; save single pictures of it as JPEG or PNG")
    advice = advice_on(what, otherwise="convert it to JPEG or PNG")
    raise ImageError(f"is {what}, which is not read; {advice}")


def _check_size(size: tuple[int, int], limits: ImageLimits) -> None:
    width, height = size
    if width * height > limits.max_pixels or max(size) > limits.max_side:
        raise ImageError(
            f"({width:,} x {height:,} pixels) exceeds {_count(limits.max_pixels)} pixels or "
            f"{limits.max_side:,} pixels per side; {limits.advice}"
        )


def _count(number: int) -> str:
    return f"{number // 10**6} million" if number >= 10**6 else f"{number:,}"


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

"""Plain 8-bit TIFF images, accepted in datasets alone: JAFFE has no others."""

from __future__ import annotations

import io
import struct

import numpy as np
from numpy.typing import NDArray
from PIL.TiffImagePlugin import BITSPERSAMPLE, TiffImageFile

from motivnet.errors import ImageError
from motivnet.images import MAX_BYTES, MAX_PIXELS, MAX_SIDE
from motivnet.printable import one_line

TIFF_SUFFIXES = frozenset((".tif", ".tiff"))

_COMPRESSIONS = frozenset(("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate"))
_BITS = {"L": (8,), "RGB": (8, 8, 8)}

# What Pillow's plug-in raises; a warning is an exception in a process that asked for that.
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
)


def decode_tiff(data: bytes, *, name: str) -> NDArray[np.uint8]:
    """Return the RGB pixels ``(H, W, 3)`` of the first image of an 8-bit grey or RGB TIFF file.

    Raises:
        ImageError: If it is not such an image, is damaged, or exceeds the limits.
    """
    if len(data) > MAX_BYTES:
        raise ImageError(f"{name} has {len(data):,} bytes, more than the {MAX_BYTES:,} allowed")
    if data[:4] not in (b"II*\0", b"MM\0*"):
        raise ImageError(f"{name} is not a TIFF image")
    try:
        with TiffImageFile(io.BytesIO(data)) as image:
            _check(image, name)
            return np.array(image.convert("RGB"))
    except _DECODER_FAILURES as error:
        reason = one_line(error) or type(error).__name__
        raise ImageError(f"{name} is damaged or not a valid image: {reason}") from error


def _check(image: TiffImageFile, name: str) -> None:
    """Refuse by the header what is too large, ambiguous, or read by rarely used code."""
    width, height = image.size
    if width * height > MAX_PIXELS or max(image.size) > MAX_SIDE:
        raise ImageError(f"{name} ({width:,} x {height:,} pixels) is too large; make it smaller")
    bits = image.tag_v2.get(BITSPERSAMPLE)
    if (
        bits is None
        or bits != _BITS.get(image.mode)
        or image.info.get("compression") not in _COMPRESSIONS
    ):
        raise ImageError(
            f"{name} is not a TIFF image of 8-bit grey or RGB samples; save it as a PNG"
        )

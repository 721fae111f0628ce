"""Plain 8-bit TIFF images of a user's own, as JAFFE has; everything else of TIFF is refused."""

from __future__ import annotations

import io

from PIL.TiffImagePlugin import BITSPERSAMPLE, TILELENGTH, TILEWIDTH, TiffImageFile

from motivnet.errors import ImageError

_COMPRESSIONS = frozenset(("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate"))
_BITS = {"L": (8,), "RGB": (8, 8, 8)}

_SUBFILE_TYPE, _SUB_IFDS, _DNG_VERSION = 254, 330, 50_706
_REDUCED = 1
_SMALLEST_TILE = 1 << 20


def open_tiff(file: io.BytesIO) -> TiffImageFile:
    """Return the first image of an 8-bit grey or RGB TIFF file, of which only the header was read.

    Raises:
        ImageError: If it is not such an image; the text follows the file's name.
    """
    image = TiffImageFile(file)
    if _is_raw(image):
        raise ImageError("is a camera's RAW image, which is not read; convert it to JPEG or PNG")
    bits = image.tag_v2.get(BITSPERSAMPLE)
    if (
        bits is None
        or bits != _BITS.get(image.mode)
        or image.info.get("compression") not in _COMPRESSIONS
        or _has_huge_tiles(image)
    ):
        raise ImageError("is not a TIFF image of 8-bit grey or RGB samples; save it as a PNG")
    return image


def _is_raw(image: TiffImageFile) -> bool:
    """Return whether the first image is a preview, behind which a camera keeps its own."""
    tags = image.tag_v2
    is_reduced = bool(tags.get(_SUBFILE_TYPE, 0) & _REDUCED)
    return is_reduced or _SUB_IFDS in tags or _DNG_VERSION in tags


def _has_huge_tiles(image: TiffImageFile) -> bool:
    """Return whether a tile, for which the decoder takes memory, is far larger than the image."""
    tile: int = image.tag_v2.get(TILEWIDTH, 0) * image.tag_v2.get(TILELENGTH, 0)
    return tile > max(_SMALLEST_TILE, 2 * image.width * image.height)

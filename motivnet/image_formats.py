"""What a file is, by its first bytes: the image formats that are read, and names of others."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass

from PIL.AvifImagePlugin import SUPPORTED as HAS_AVIF
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from motivnet.errors import ImageError, MissingDependencyError
from motivnet.image_parts import (
    ImageParts,
    bmp_parts,
    heif_parts,
    jpeg_parts,
    png_parts,
    webp_parts,
)
from motivnet.tiff import open_tiff

HEAD_BYTES = 1_024
"""So many bytes from the start of a file are enough to tell what it is."""


def _open_avif(file: io.BytesIO) -> ImageFile:
    if not HAS_AVIF:
        raise ImageError("is an AVIF image, and this Pillow reads none; convert it to JPEG")
    return AvifImageFile(file)


def _open_heic(file: io.BytesIO) -> ImageFile:
    try:
        from motivnet.heic import open_heic
    except MissingDependencyError as error:
        raise ImageError(f"is a HEIC image; {error}, or convert it to JPEG") from error
    return open_heic(file)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFormat:
    """A format that is read.

    Args:
        open: Called directly, because ``Image.open`` has its own process-wide limit.
        parts: Selects what the decoder gets.
        is_common: Whether it is read of strangers too. Of HEIC and AVIF the compressed picture, and
            not the header, says what a decoder allocates, and TIFF has a large decoder.
    """

    name: str
    open: Callable[[io.BytesIO], ImageFile]
    parts: Callable[[bytes], ImageParts]
    is_common: bool = True


_JPEG = ImageFormat(name="JPEG", open=JpegImageFile, parts=jpeg_parts)
_PNG = ImageFormat(name="PNG", open=PngImageFile, parts=png_parts)
_WEBP = ImageFormat(name="WebP", open=WebPImageFile, parts=webp_parts)
_BMP = ImageFormat(name="BMP", open=BmpImageFile, parts=bmp_parts)
_AVIF = ImageFormat(name="AVIF", open=_open_avif, parts=heif_parts, is_common=False)
_HEIC = ImageFormat(name="HEIC", open=_open_heic, parts=heif_parts, is_common=False)
_TIFF = ImageFormat(name="TIFF", open=open_tiff, parts=ImageParts, is_common=False)

_FORMATS: tuple[tuple[bytes, ImageFormat], ...] = (
    (rb"\xff\xd8\xff", _JPEG),
    (rb"\x89PNG\r\n\x1a\n", _PNG),
    (rb"RIFF....WEBPVP8", _WEBP),
    (rb"BM", _BMP),
    (rb"II\*\x00(?!.{4}CR)|MM\x00\*", _TIFF),
)
_AVIF_BRANDS = frozenset((b"avif", b"avis"))
_HEIC_BRANDS = frozenset(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
)

_VIDEOS: tuple[tuple[bytes, str], ...] = (
    (rb"....(ftyp|moov|mdat|wide|pnot)", "an MP4 or QuickTime video"),
    (rb"\x1a\x45\xdf\xa3", "a Matroska or WebM video"),
    (rb"RIFF....AVI ", "an AVI video"),
    (rb"\x00\x00\x01[\xb3\xba]", "an MPEG video"),
    (rb"\x47.{187}\x47.{187}\x47|....\x47.{191}\x47.{191}\x47", "an MPEG transport stream"),
    (rb"FLV\x01", "a Flash video"),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a Windows Media video"),
    (rb"OggS", "an Ogg video"),
)

_OTHERS: tuple[tuple[bytes, str], ...] = (
    (rb"GIF8[79]a", "a GIF image"),
    (rb"\xff\x0a|\x00\x00\x00\x0cJXL ", "a JPEG XL image"),
    (rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (rb"....ftypcrx |II\*\x00.{4}CR|FUJIFILMCCD-RAW|IIU\x00|IIR[OS]|MMOR", "a camera's RAW image"),
    (rb"II\+\x00|MM\x00\+", "a BigTIFF image"),
    (rb"8BPS", "a Photoshop file"),
    (rb"%PDF-", "a PDF document"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript file"),
    (rb"(\xef\xbb\xbf)?\s*<((\?xml|!--).*?<)?(svg|!DOCTYPE svg)", "an SVG drawing"),
    (rb"\x00\x00\x01\x00", "an icon"),
    (rb"(?i:\s*(<!doctype html|<html))", "a web page"),
    (rb"\x76\x2f\x31\x01", "an OpenEXR image"),
    (rb"#\?RADIANCE", "a Radiance HDR image"),
    (rb"PK\x03\x04", "a ZIP archive"),
    (rb"version https://git-lfs", "a pointer of Git LFS"),
    (rb"#EXTM3U", "a playlist"),
    (rb"\.RMF", "a RealMedia file"),
)


_ADVICE = {
    "a web page": "download the picture itself",
    "a pointer of Git LFS": "fetch the file itself with: git lfs pull",
    "a playlist": "give a video that it names",
}


def image_format(data: bytes) -> ImageFormat | None:
    """Return the format of an image that is read, None for anything else."""
    brands = _brands(data)
    if brands & _AVIF_BRANDS:
        return _AVIF
    if brands & _HEIC_BRANDS:
        return _HEIC
    return next((known for magic, known in _FORMATS if re.match(magic, data, re.DOTALL)), None)


def video_name(head: bytes) -> str | None:
    """Return what kind of video this is, with its article, by its first ``HEAD_BYTES``."""
    if image_format(head) is not None or re.match(rb"....ftypcrx ", head, re.DOTALL):
        return None
    return _name(_VIDEOS, head)


def format_name(head: bytes) -> str | None:
    """Return what a file is, with its article, by its first ``HEAD_BYTES``; None if unknown."""
    known = image_format(head)
    if known is not None:
        return f"{'an' if known.name == 'AVIF' else 'a'} {known.name} image"
    return video_name(head) or _name(_OTHERS, head)


def advice_on(name: str, *, otherwise: str) -> str:
    """Return what to do about a file that is not read, by its ``format_name``."""
    return _ADVICE.get(name, otherwise)


def names_of_formats(*, common: bool) -> str:
    """Return the formats that are read, as ``JPEG, PNG or BMP``; only the common ones if so."""
    read = (_JPEG, _PNG, _WEBP, _BMP, _TIFF, _AVIF, _HEIC)
    *names, last = (known.name for known in read if known.is_common or not common)
    return f"{', '.join(names)} or {last}"


def _name(table: tuple[tuple[bytes, str], ...], head: bytes) -> str | None:
    head = head[:HEAD_BYTES]
    return next((name for magic, name in table if re.match(magic, head, re.DOTALL)), None)


def _brands(data: bytes) -> frozenset[bytes]:
    """Return what the first box of an ISO media file says it can be read as."""
    if data[4:8] != b"ftyp":
        return frozenset()
    size = min(int.from_bytes(data[:4], "big"), HEAD_BYTES)
    return frozenset(data[start : start + 4] for start in (8, *range(16, size - 3, 4)))

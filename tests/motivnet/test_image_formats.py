"""Formats by content: AVIF and HEIC are read, others are refused by their name."""

from __future__ import annotations

import io
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from motivnet.errors import ImageError
from motivnet.image_formats import HEAD_BYTES, format_name, video_name
from motivnet.images import STRICT_LIMITS, ImageLimits, decode_image, read_image

HEIC_HEAD = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
BAD_EXIF = b"MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12\0\x03\0\0\xff\xff\0\0\0\x01" * 3


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photo() -> Image.Image:
    """A picture of two colours, wider than high, of which every orientation differs."""
    pixels = np.full((64, 96, 3), (40, 90, 160), np.uint8)
    pixels[:32, :48] = 230, 120, 60
    return Image.fromarray(pixels)


def heic(image: Image.Image, **options: Any) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif", reason="the extra heic is not installed")
    pillow_heif.register_heif_opener()  # the product registers nothing
    return encoded(image, "HEIF", quality=95, **options)


def avif(image: Image.Image, **options: Any) -> bytes:
    return encoded(image, "AVIF", quality=95, speed=10, **options)


MAKERS = {"AVIF": avif, "HEIC": heic}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_phones_picture_is_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(MAKERS[kind](photo()))
    assert np.abs(read_image(path).astype(int) - np.asarray(photo())).mean() < 2


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_phones_picture_is_turned_upright_once(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = MAKERS[kind](photo(), exif=exif.tobytes())
    turned = Image.open(io.BytesIO(encoded(photo(), "PNG", exif=exif)))
    expected = decode_image(encoded(turned, "PNG", exif=exif), name="expected")
    pixels = decode_image(data, name="photo")
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).mean() < 2


@pytest.mark.parametrize("kind", MAKERS)
def test_alpha_of_a_phones_picture_is_laid_on_white(kind: str) -> None:
    data = MAKERS[kind](Image.new("RGBA", (64, 64), (0, 100, 255, 0)))
    assert decode_image(data, name="photo").min() > 250


@pytest.mark.parametrize("kind", MAKERS)
def test_a_phones_picture_is_within_the_limits(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = MAKERS[kind](photo())
    with pytest.raises(ImageError, match=r"photo \(96 x 64 pixels\) exceeds 6,000 pixels"):
        decode_image(data, name="photo", limits=ImageLimits(max_pixels=6_000))
    with pytest.raises(ImageError, match=rf"photo is an? {kind} image, which is not read"):
        decode_image(data, name="photo", limits=STRICT_LIMITS)
    for end in range(1, len(data) * 9 // 10, max(1, len(data) // 40)):
        with pytest.raises(ImageError) as caught:
            decode_image(data[:end], name="photo")
        assert "\n" not in str(caught.value)


def test_a_heic_that_states_a_smaller_size_than_it_has_is_refused_before_it_is_decoded() -> None:
    data = bytearray(heic(Image.new("RGB", (1024, 1024))))
    start = data.index(b"ispe") + 8
    data[start : start + 8] = (64).to_bytes(4, "big") * 2
    with pytest.raises(ImageError, match="photo is damaged"):
        decode_image(bytes(data), name="photo")


def test_without_its_decoder_a_heic_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setitem(sys.modules, "pillow_heif.as_plugin", None)
    monkeypatch.delitem(sys.modules, "motivnet.heic", raising=False)
    (tmp_path / "photo.jpg").write_bytes(HEIC_HEAD)
    with pytest.raises(ImageError, match=r"photo\.jpg is a HEIC image.*'motivnet\[heic\]'"):
        read_image(tmp_path / "photo.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", *MAKERS])
def test_bad_exif_gives_no_warning(kind: str) -> None:
    good = BAD_EXIF[:8] + bytes(len(BAD_EXIF) - 8)  # Pillow's writers refuse bad ones
    maker = MAKERS.get(kind, lambda image, **options: encoded(image, kind, **options))
    data = maker(photo(), exif=b"Exif\0\0" + good).replace(good, BAD_EXIF)
    assert BAD_EXIF in data
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert decode_image(data, name="photo").shape == (64, 96, 3)
    assert not caught


OTHERS: dict[str, tuple[bytes, str]] = {
    "GIF": (encoded(photo(), "GIF"), "a GIF image"),
    "BigTIFF": (encoded(photo(), "TIFF", big_tiff=True), "a BigTIFF image"),
    "ICO": (encoded(photo(), "ICO"), "an icon"),
    "JPEG 2000": (encoded(photo(), "JPEG2000"), "a JPEG 2000 image"),
    "PDF": (encoded(photo(), "PDF"), "a PDF document"),
    "PostScript": (encoded(photo(), "EPS"), "a PostScript file"),
    "JPEG XL": (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
    "bare JPEG XL": (b"\xff\x0a\x01\x02", "a JPEG XL image"),
    "CR2": (b"II*\0\x10\0\0\0CR\x02\0", "a camera's RAW image"),
    "CR3": (b"\0\0\0\x18ftypcrx \0\0\0\x01", "a camera's RAW image"),
    "RAF": (b"FUJIFILMCCD-RAW 0201", "a camera's RAW image"),
    "PSD": (b"8BPS\0\x01", "a Photoshop file"),
    "SVG": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
    "bare SVG": (b"<svg width='1'/>", "an SVG drawing"),
}


@pytest.mark.parametrize(("content", "name"), OTHERS.values(), ids=OTHERS)
def test_what_is_not_read_is_refused_by_its_name(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / "face.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=rf"face\.jpg is {name}.*; convert it to JPEG or PNG$"):
        read_image(tmp_path / "face.jpg")


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (b"\n<!DOCTYPE html><title>404</title>", "web page, which is not read; download the pic"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS, .*; fetch the file itself wi"),
        (b"#EXTM3U\n", "playlist, which is not read; give a video that it names"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "video, not a picture; save single pictures of it as JP"),
    ],
)
def test_advice_fits_what_a_file_is(content: bytes, advice: str) -> None:
    with pytest.raises(ImageError, match=rf"^face is an? .*{advice}"):
        decode_image(content, name="face")


@pytest.mark.parametrize("kind", ["TIFF", "AVIF"])
def test_a_strangers_picture_is_of_a_common_format(kind: str) -> None:
    data = encoded(photo(), kind)
    assert decode_image(data, name="face").shape == (64, 96, 3)
    with pytest.raises(ImageError, match=rf"face is an? {kind} image, which is not read"):
        decode_image(data, name="face", limits=STRICT_LIMITS)
    with pytest.raises(ImageError, match="face is not a JPEG, PNG, WebP or BMP image"):
        decode_image(b"text", name="face", limits=STRICT_LIMITS)


def test_no_head_takes_long_to_be_recognised() -> None:
    for piece in (b"<!--", b"<?xml", b" ", b"<!--a-->", b"\xef"):
        assert format_name(piece * HEAD_BYTES) is None
    assert video_name(b"") is None

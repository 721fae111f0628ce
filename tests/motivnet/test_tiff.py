import io
import struct
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from motivnet.errors import ImageError
from motivnet.images import EncodedImage, decode_image
from motivnet.synthetic import draw_face

FACE = draw_face("happiness", seed=0, size=(40, 30))


class TiffTag(NamedTuple):
    number: int
    value: int


def tiff(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "TIFF", **options)
    return file.getvalue()


@pytest.mark.parametrize("compression", ["raw", "packbits", "tiff_lzw", "tiff_adobe_deflate"])
def test_rgb_is_decoded_exactly(compression: str) -> None:
    data = tiff(Image.fromarray(FACE), compression=compression)
    np.testing.assert_array_equal(decode_image(data, name="face"), FACE)


def test_grey_becomes_rgb() -> None:
    grey: NDArray[np.uint8] = np.arange(12, dtype=np.uint8).reshape(3, 4)
    expected = np.repeat(grey[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(decode_image(tiff(Image.fromarray(grey)), name="face"), expected)


@pytest.mark.parametrize("mode", ["1", "P", "RGBA", "CMYK", "I;16", "F"])
def test_other_samples_are_refused(mode: str) -> None:
    with pytest.raises(
        ImageError, match="face is not a TIFF image of 8-bit grey or RGB samples; save it as a PNG"
    ):
        decode_image(tiff(Image.new(mode, (4, 3))), name="face")


def test_jpeg_inside_tiff_is_refused() -> None:
    with pytest.raises(ImageError, match="8-bit grey or RGB samples"):
        decode_image(tiff(Image.fromarray(FACE), compression="jpeg"), name="face")


@pytest.mark.parametrize(
    "data", [b"II*", b"II*\0", b"MM\0*"], ids=["three bytes", "little-endian", "big-endian"]
)
def test_what_is_no_tiff_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"face is (not a JPEG|damaged or not a valid image)"):
        decode_image(data, name="face")


def test_a_file_cut_anywhere_is_refused_in_one_line() -> None:
    data = tiff(Image.fromarray(FACE))
    for length in range(4, len(data) - 2, 97):
        with pytest.raises(ImageError, match=r"^face is [^\n]+$"):
            decode_image(data[:length], name="face")


def test_the_size_in_the_header_is_checked_before_anything_is_decoded() -> None:
    data = bytearray(tiff(Image.new("L", (4, 3))))
    for tag in (256, 257):  # width and length, as short numbers
        place = (
            data.index(struct.pack("<HHI", tag, 4, 1))
            if struct.pack("<HHI", tag, 4, 1) in data
            else None
        )
        place = data.index(struct.pack("<HHI", tag, 3, 1)) if place is None else place
        data[place : place + 12] = struct.pack("<HHII", tag, 4, 1, 60_000)
    with pytest.raises(
        ImageError, match=r"face \(60,000 x 60,000 pixels\) exceeds 250 million pixels"
    ):
        decode_image(bytes(data), name="face")


@pytest.mark.parametrize("tag", [TiffTag(254, 1), TiffTag(330, 8), TiffTag(50_706, 1)])
def test_the_preview_of_a_raw_image_is_not_taken_for_the_photo(tag: TiffTag) -> None:
    extra = TiffImagePlugin.ImageFileDirectory_v2()
    extra[tag.number] = tag.value
    with pytest.raises(ImageError, match="face is a camera's RAW image, which is not read; conv"):
        decode_image(tiff(Image.fromarray(FACE), tiffinfo=extra), name="face")


def test_a_tile_far_larger_than_the_image_is_refused_before_it_is_allocated() -> None:
    places = {256: 4, 257: 3, 258: 8, 259: 1, 262: 1, 322: 16_384, 323: 16_384, 324: 8, 325: 12}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in places.items())
    data = b"II*\0\x08\0\0\0" + struct.pack("<H", len(places)) + entries + bytes(4)
    with pytest.raises(ImageError, match="face is not a TIFF image of 8-bit grey or RGB samples"):
        decode_image(data, name="face")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_scan_is_turned_upright_once(orientation: int) -> None:
    extra = TiffImagePlugin.ImageFileDirectory_v2()
    extra[274] = orientation
    image = EncodedImage(tiff(Image.fromarray(FACE), tiffinfo=extra), name="face")
    exif = Image.Exif()
    exif[274] = orientation
    file = io.BytesIO()
    Image.fromarray(FACE).save(file, "PNG", exif=exif)
    pixels = image.pixels()
    assert (image.height, image.width) == pixels.shape[:2]
    np.testing.assert_array_equal(pixels, decode_image(file.getvalue(), name="face"))

import io
import struct

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from motivnet.datasets.tiff import decode_tiff
from motivnet.errors import ImageError
from motivnet.synthetic import draw_face

FACE = draw_face("happiness", seed=0, size=(40, 30))


def tiff(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "TIFF", **options)
    return file.getvalue()


@pytest.mark.parametrize("compression", ["raw", "packbits", "tiff_lzw", "tiff_adobe_deflate"])
def test_rgb_is_decoded_exactly(compression: str) -> None:
    data = tiff(Image.fromarray(FACE), compression=compression)
    np.testing.assert_array_equal(decode_tiff(data, name="face"), FACE)


def test_grey_becomes_rgb() -> None:
    grey: NDArray[np.uint8] = np.arange(12, dtype=np.uint8).reshape(3, 4)
    expected = np.repeat(grey[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(decode_tiff(tiff(Image.fromarray(grey)), name="face"), expected)


@pytest.mark.parametrize("mode", ["1", "P", "RGBA", "CMYK", "I;16", "F"])
def test_other_samples_are_refused(mode: str) -> None:
    with pytest.raises(
        ImageError, match="face is not a TIFF image of 8-bit grey or RGB samples; save it as a PNG"
    ):
        decode_tiff(tiff(Image.new(mode, (4, 3))), name="face")


def test_jpeg_inside_tiff_is_refused() -> None:
    with pytest.raises(ImageError, match="8-bit grey or RGB samples"):
        decode_tiff(tiff(Image.fromarray(FACE), compression="jpeg"), name="face")


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8\xff", b"II*"], ids=["empty", "a JPEG", "three bytes"]
)
def test_what_is_no_tiff_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match="face is not a TIFF image"):
        decode_tiff(data, name="face")


def test_a_file_cut_anywhere_is_refused_in_one_line() -> None:
    data = tiff(Image.fromarray(FACE))
    for length in range(4, len(data) - 2, 97):
        with pytest.raises(ImageError, match=r"^face is [^\n]+$"):
            decode_tiff(data[:length], name="face")


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
        ImageError, match=r"face \(60,000 x 60,000 pixels\) is too large; make it smaller"
    ):
        decode_tiff(bytes(data), name="face")

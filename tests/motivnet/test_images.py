"""Images: what is read, what is refused, and the limits."""

import io
import os
import random
import struct
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFile

from motivnet import images
from motivnet.errors import FileError, ImageError
from motivnet.images import (
    STRICT_LIMITS,
    USER_LIMITS,
    ImageLimits,
    decode_image,
    read_image,
)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def plain(mode: str, colour: object, size: tuple[int, int] = (6, 4)) -> Image.Image:
    return Image.new(mode, size, colour)


def palette_image(*, transparent: bool) -> bytes:
    image = Image.new("P", (6, 4), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    return encoded(image, "PNG", **({"transparency": 1} if transparent else {}))


def png_of_samples(
    colour_type: int, samples: NDArray[np.uint16], transparent: bytes = b""
) -> bytes:
    """A 16-bit PNG; Pillow writes only grey ones."""
    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))]
    chunks += [(b"tRNS", transparent)] if transparent else []
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def samples_16_bit(*pixel: int) -> NDArray[np.uint16]:
    return np.tile(np.array(pixel, np.uint16), (4, 6, 1))


def animation(kind: str) -> bytes:
    first, second = plain("RGB", (10, 20, 30)), plain("RGB", (200, 0, 0))
    return encoded(first, kind, save_all=True, append_images=[second], lossless=True)


def multi_picture() -> bytes:
    return encoded(
        plain("RGB", (90, 90, 90)), "MPO", save_all=True, append_images=[plain("RGB", (9, 9, 9))]
    )


def ycck_jpeg() -> bytes:
    """A four-channel JPEG marked as YCCK: luma 128, neutral chroma, no black."""
    data = bytearray(encoded(plain("CMYK", (127, 127, 127, 0)), "JPEG", quality=100))
    adobe = data.index(b"Adobe")
    data[adobe + 11] = 2
    return bytes(data)


GOLDEN: dict[str, tuple[bytes, tuple[int, int, int], int]] = {
    "1-bit PNG": (encoded(plain("1", 1), "PNG"), (255, 255, 255), 0),
    "grey PNG": (encoded(plain("L", 77), "PNG"), (77, 77, 77), 0),
    "grey PNG with a transparent level": (
        encoded(plain("L", 77), "PNG", transparency=77),
        (255, 255, 255),
        0,
    ),
    "grey and alpha PNG": (encoded(plain("LA", (100, 51)), "PNG"), (224, 224, 224), 0),
    "palette PNG": (palette_image(transparent=False), (200, 100, 50), 0),
    "palette PNG with a transparent entry": (palette_image(transparent=True), (255, 255, 255), 0),
    "RGB PNG": (encoded(plain("RGB", (10, 20, 30)), "PNG"), (10, 20, 30), 0),
    "RGB PNG with a transparent colour": (
        encoded(plain("RGB", (10, 20, 30)), "PNG", transparency=(10, 20, 30)),
        (255, 255, 255),
        0,
    ),
    "RGBA PNG, opaque": (encoded(plain("RGBA", (10, 20, 30, 255)), "PNG"), (10, 20, 30), 0),
    "RGBA PNG, clear": (encoded(plain("RGBA", (10, 20, 30, 0)), "PNG"), (255, 255, 255), 0),
    "RGBA PNG, half clear": (encoded(plain("RGBA", (0, 100, 255, 128)), "PNG"), (127, 177, 255), 0),
    "16-bit grey PNG": (png_of_samples(0, samples_16_bit(0x8034)), (128, 128, 128), 0),
    "16-bit grey PNG, white": (png_of_samples(0, samples_16_bit(0xFFFF)), (255, 255, 255), 0),
    "16-bit grey PNG with a transparent level": (
        png_of_samples(0, samples_16_bit(0x8034), b"\x80\x34"),
        (255, 255, 255),
        0,
    ),
    "16-bit RGB PNG": (png_of_samples(2, samples_16_bit(0x0A80, 0x1480, 0x1EFF)), (10, 20, 30), 0),
    "16-bit grey and alpha PNG": (
        png_of_samples(4, samples_16_bit(0x6464, 0x3333)),
        (224, 224, 224),
        0,
    ),
    "16-bit RGBA PNG": (
        png_of_samples(6, samples_16_bit(0x0A00, 0x1400, 0x1E00, 0xFFFF)),
        (10, 20, 30),
        0,
    ),
    "animated PNG": (animation("PNG"), (10, 20, 30), 0),
    "grey JPEG": (encoded(plain("L", 77), "JPEG", quality=95), (77, 77, 77), 1),
    "RGB JPEG": (encoded(plain("RGB", (90, 120, 60)), "JPEG", quality=95), (90, 120, 60), 3),
    "progressive JPEG": (
        encoded(plain("RGB", (90, 120, 60)), "JPEG", progressive=True),
        (90, 120, 60),
        4,
    ),
    "CMYK JPEG": (encoded(plain("CMYK", (255, 0, 0, 0)), "JPEG", quality=100), (0, 255, 255), 3),
    "YCCK JPEG": (ycck_jpeg(), (128, 128, 128), 3),
    "multi-picture JPEG": (multi_picture(), (90, 90, 90), 2),
    "lossless WebP": (encoded(plain("RGB", (10, 20, 30)), "WEBP", lossless=True), (10, 20, 30), 0),
    "WebP with alpha": (
        encoded(plain("RGBA", (0, 100, 255, 128)), "WEBP", lossless=True),
        (127, 177, 255),
        0,
    ),
    "animated WebP": (animation("WEBP"), (10, 20, 30), 0),
    "1-bit BMP": (encoded(plain("1", 1), "BMP"), (255, 255, 255), 0),
    "grey BMP": (encoded(plain("L", 77), "BMP"), (77, 77, 77), 0),
    "RGB BMP": (encoded(plain("RGB", (10, 20, 30)), "BMP"), (10, 20, 30), 0),
}


@pytest.mark.parametrize(("data", "colour", "tolerance"), GOLDEN.values(), ids=GOLDEN)
def test_every_kind_of_image_has_its_defined_colours(
    data: bytes, colour: tuple[int, ...], tolerance: int
) -> None:
    pixels = decode_image(data, name="image")
    assert pixels.dtype == np.uint8
    assert pixels.shape == (4, 6, 3)
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable
    assert np.abs(pixels.astype(int) - np.array(colour)).max() <= tolerance


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_image_is_turned_upright(orientation: int, kind: str) -> None:
    upright = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    turn_back = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(
        Image.fromarray(np.ascontiguousarray(turn_back(upright))), kind, exif=exif, lossless=True
    )
    np.testing.assert_array_equal(decode_image(data, name="image"), upright)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_unknown_orientation_is_taken_as_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(plain("RGB", (1, 2, 3), (7, 5)), "PNG", exif=exif)
    assert decode_image(data, name="image").shape == (5, 7, 3)


def test_an_image_of_many_strips_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_STRIP_PIXELS", 60)
    pixels = np.random.default_rng(0).integers(0, 256, (31, 17, 3), np.uint8)
    np.testing.assert_array_equal(
        decode_image(encoded(Image.fromarray(pixels), "PNG"), name="image"), pixels
    )


@pytest.mark.parametrize(
    "content",
    [encoded(plain("RGB", 0), "PPM"), b"not an image\n", b"RIFF\x24\0\0\0WAVEfmt "],
)
def test_other_files_are_refused_whatever_the_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "face.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=r"face\.jpg is not a JPEG, PNG, .* or HEIC image"):
        read_image(tmp_path / "face.jpg")


def test_the_content_decides_and_not_the_name(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(encoded(plain("RGB", (1, 2, 3)), "PNG"))
    assert read_image(tmp_path / "photo.jpg")[0, 0].tolist() == [1, 2, 3]


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda path: None, FileError, "does not exist"),
        (Path.mkdir, FileError, "is a directory"),
        (make_fifo, FileError, "not a regular file"),
        (Path.touch, ImageError, "is empty"),
        (lambda path: path.symlink_to("nowhere"), FileError, "does not exist"),
    ],
    ids=["missing", "directory", "fifo", "empty", "dangling link"],
)
def test_what_is_not_an_image_file_is_refused_in_one_line(
    tmp_path: Path, make: Callable[[Path], object], error: type[Exception], message: str
) -> None:
    path = tmp_path / "face.jpg"
    make(path)
    with pytest.raises(error, match=message) as caught:
        read_image(path)
    assert str(path) in str(caught.value)


def test_the_process_wide_settings_of_pillow_stay_as_they_are() -> None:
    before = Image.MAX_IMAGE_PIXELS
    decode_image(GOLDEN["RGB PNG"][0], name="image")
    with pytest.raises(ImageError):
        decode_image(GOLDEN["RGB JPEG"][0][:100], name="image")
    assert before == Image.MAX_IMAGE_PIXELS
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_threads_decode_without_disturbing_one_another() -> None:
    samples = [(data, decode_image(data, name="image")) for data, _, _ in GOLDEN.values()]
    wrong: list[int] = []

    def decode_all(first: int) -> None:
        for step in range(100):
            data, expected = samples[(first + step) % len(samples)]
            if not np.array_equal(decode_image(data, name="image"), expected):
                wrong.append(step)

    threads = [threading.Thread(target=decode_all, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_decoding_an_image_imports_no_torch() -> None:
    code = "import sys, motivnet.images; sys.exit('torch' in sys.modules)"
    assert os.spawnl(os.P_WAIT, sys.executable, sys.executable, "-c", code) == 0


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow may read headers and no pixels."""

    def decode(_: object) -> None:
        raise AssertionError("the pixels were decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", decode)


def png_beginning(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    header = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + header + struct.pack(">I", 64) + b"IDAT"


@pytest.mark.parametrize(
    ("size", "limits", "message"),
    [
        ((25_001, 10_000), USER_LIMITS, "250 million pixels or 65,535 pixels per side"),
        ((65_536, 10), USER_LIMITS, "250 million pixels or 65,535 pixels per side"),
        ((20_000, 10_000), STRICT_LIMITS, "40 million pixels or 16,384 pixels per side"),
        ((8_000, 5_001), STRICT_LIMITS, "40 million pixels or 16,384 pixels per side"),
        ((16_385, 10), STRICT_LIMITS, "40 million pixels or 16,384 pixels per side"),
        ((10, 16_385), STRICT_LIMITS, "40 million pixels or 16,384 pixels per side"),
        ((2**31 - 1, 2**31 - 1), STRICT_LIMITS, "40 million pixels or 16,384 pixels per side"),
        ((5, 3), ImageLimits(max_pixels=14, advice="raise it"), "14 pixels .* side; raise it$"),
    ],
)
@pytest.mark.usefixtures("no_decoding")
def test_an_image_beyond_the_limits_is_refused_from_its_header(
    size: tuple[int, int], limits: ImageLimits, message: str
) -> None:
    with pytest.raises(ImageError, match=f"exceeds {message}"):
        decode_image(png_beginning(*size), name="image", limits=limits)


@pytest.mark.usefixtures("no_decoding")
def test_a_200_megapixel_png_that_would_decode_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    packer = zlib.compressobj()
    row = b"\0" * (20_000 // 8 + 1)
    body = b"".join(packer.compress(row) for _ in range(10_000)) + packer.flush()
    header = struct.pack(">IIBBBBB", 20_000, 10_000, 1, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
        )
    )
    with pytest.raises(ImageError, match=r"bomb\.png \(20,000 x 10,000 pixels\) exceeds"):
        read_image(path, limits=STRICT_LIMITS)


@pytest.mark.parametrize("size", [(16_384, 16_384), (9_000, 9_000)])
def test_a_webp_beyond_the_limits_is_refused(size: tuple[int, int]) -> None:
    data = bytearray(encoded(plain("RGB", 0), "WEBP", lossless=True))
    start = data.index(b"VP8L") + 9  # 14 bits each of width - 1 and height - 1
    data[start : start + 4] = struct.pack("<I", (size[0] - 1) | (size[1] - 1) << 14)
    with pytest.raises(ImageError, match="exceeds 40 million pixels"):
        decode_image(bytes(data), name="image", limits=STRICT_LIMITS)


def test_the_largest_side_is_still_read() -> None:
    assert decode_image(encoded(plain("L", 5, (16_384, 1)), "PNG"), name="image").shape == (
        1,
        16_384,
        3,
    )


def test_a_jpeg_of_very_many_scans_is_refused() -> None:
    data = encoded(plain("RGB", (9, 9, 9), (64, 64)), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    with pytest.raises(ImageError, match="more than 64 JPEG scans"):
        decode_image(data[:last] + data[last:-2] * 70 + data[-2:], name="image")


def test_more_bytes_than_allowed_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.truncate(images.MAX_BYTES + 1)
    with pytest.raises(FileError, match=r"more than the 20,?000,?000 allowed; make it smaller"):
        read_image(path, limits=STRICT_LIMITS)
    with pytest.raises(ImageError, match="more than the 20,000,000 allowed; make it smaller"):
        decode_image(path.read_bytes(), name="large", limits=STRICT_LIMITS)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_a_truncated_image_is_refused_wherever_it_ends(kind: str) -> None:
    data = encoded(Image.effect_noise((64, 48), 60).convert("RGB"), kind)
    for end in [*range(1, 60), *range(60, len(data) * 9 // 10, max(1, len(data) // 60))]:
        with pytest.raises(ImageError) as caught:
            decode_image(data[:end], name="photo")
        assert "\n" not in str(caught.value)


def mutant(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 5)):
        place = int(rng.random() ** 2 * len(changed))
        edit = rng.randrange(4)
        if edit == 0:
            changed[place : place + 1] = rng.randbytes(1)
        elif edit == 1:
            del changed[place : place + rng.randint(1, 8)]
        elif edit == 2:
            changed[place:place] = rng.randbytes(rng.randint(1, 8))
        else:
            changed[place : place + 4] = rng.choice(
                [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"]
            )
    return bytes(changed)


@pytest.mark.parametrize("seed", range(8))
def test_damaged_images_decode_or_raise_only_image_errors(seed: int) -> None:
    rng = random.Random(seed)
    exif = Image.Exif()
    exif[0x0112] = 6
    noise = Image.effect_noise((24, 20), 60).convert("RGB")
    whole = [
        encoded(noise, "JPEG", progressive=True, exif=exif),
        encoded(noise, "PNG", exif=exif),
        encoded(noise, "WEBP", exif=exif),
        encoded(noise, "BMP"),
        encoded(noise.convert("P"), "PNG"),
        encoded(noise.convert("CMYK"), "JPEG"),
        encoded(noise.convert("RGBA"), "WEBP", lossless=True),
        encoded(noise, "PNG", save_all=True, append_images=[noise.rotate(90)]),
    ]
    outcomes = set()
    for _ in range(100):
        damaged = mutant(rng.choice(whole), rng)
        try:
            assert decode_image(damaged, name="mutant").ndim == 3
            outcomes.add("decoded")
        except ImageError:
            outcomes.add("refused")
    assert outcomes == {"decoded", "refused"}

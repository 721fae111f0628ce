import io
import random
import struct
import time
import zlib
from pathlib import Path

import pytest
from PIL import Image

from motivnet import images
from motivnet.errors import FileError, ImageError
from motivnet.images import decode_image, read_image


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def plain(mode: str, colour: object, size: tuple[int, int] = (6, 4)) -> Image.Image:
    return Image.new(mode, size, colour)


def png_beginning(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    header = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + header + struct.pack(">I", 64) + b"IDAT"


@pytest.mark.parametrize(
    "size", [(20_000, 10_000), (8_000, 5_001), (16_385, 10), (10, 16_385), (2**31 - 1, 2**31 - 1)]
)
def test_an_image_beyond_the_limits_is_refused_from_its_header(size: tuple[int, int]) -> None:
    started = time.perf_counter()
    with pytest.raises(ImageError, match="exceeds 40 million pixels or 16,384 pixels a side"):
        decode_image(png_beginning(*size), name="image")
    assert time.perf_counter() - started < 0.05


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
    started = time.perf_counter()
    with pytest.raises(ImageError, match=r"bomb\.png \(20,000 x 10,000 pixels\) exceeds"):
        read_image(path)
    assert time.perf_counter() - started < 0.1


@pytest.mark.parametrize("size", [(16_384, 16_384), (9_000, 9_000)])
def test_a_webp_beyond_the_limits_is_refused(size: tuple[int, int]) -> None:
    data = bytearray(encoded(plain("RGB", 0), "WEBP", lossless=True))
    start = data.index(b"VP8L") + 9  # 14 bits each of width - 1 and height - 1
    data[start : start + 4] = struct.pack("<I", (size[0] - 1) | (size[1] - 1) << 14)
    with pytest.raises(ImageError, match="exceeds 40 million pixels"):
        decode_image(bytes(data), name="image")


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
    with pytest.raises(FileError, match="more than the 20,000,000 allowed"):
        read_image(path)
    with pytest.raises(ImageError, match="more than the 20,000,000 allowed"):
        decode_image(b"\0" * (images.MAX_BYTES + 1), name="large")


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

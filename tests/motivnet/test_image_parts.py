"""Files of millions of parts are refused before a decoder reads them; photos are not."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import textwrap
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from motivnet import image_parts
from motivnet.errors import ImageError
from motivnet.images import decode_image, image_size

MANY = 400_000


def encoded(kind: str, size: tuple[int, int] = (24, 16), **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise(size, 60).convert("RGB").save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    *,
    before: bytes = b"",
    after: bytes = b"",
    step: int | None = None,
    size: tuple[int, int] = (24, 16),
) -> bytes:
    """A PNG with more chunks before or after its pixels, which come in chunks of ``step`` bytes."""
    data = encoded("PNG", size)
    start = data.index(b"IDAT") - 4
    length = int.from_bytes(data[start : start + 4], "big")
    pixels = data[start + 8 : start + 8 + length]
    step = step or len(pixels)
    parts = b"".join(
        chunk(b"IDAT", pixels[place : place + step]) for place in range(0, len(pixels), step)
    )
    return data[:start] + before + parts + after + data[start + 12 + length :]


def segment(marker: int, data: bytes = b"") -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


def jpeg(*, before: bytes = b"", after: bytes = b"", **options: Any) -> bytes:
    """A JPEG with more bytes after its first marker, or after its end."""
    data = encoded("JPEG", **options)
    return data[:2] + before + data[2:] + after


def riff(chunks: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def webp(after: bytes) -> bytes:
    return riff(encoded("WEBP", lossless=True)[12:] + after)


def frames(count: int) -> bytes:
    """An animation of as many PNG frames as APNG keeps: a control and a data chunk each."""
    control = struct.pack(">IIIIIHHBB", 0, 24, 16, 0, 0, 1, 10, 0, 0)
    return (chunk(b"fcTL", control) + chunk(b"fdAT", bytes(1_500))) * count


def rle_bmp(data: bytes) -> bytes:
    palette = bytes(range(256)) * 4
    header = struct.pack("<2sIHHI", b"BM", 54 + 1024 + len(data), 0, 0, 54 + 1024)
    return (
        header
        + struct.pack("<IiiHHIIiiII", 40, 24, 16, 1, 8, 1, len(data), 0, 0, 256, 0)
        + palette
        + data
    )


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty PNG chunks before the pixels": (
        lambda: png(before=chunk(b"abCd") * MANY),
        "more chunks",
    ),
    "empty PNG chunks after the pixels": (lambda: png(after=chunk(b"abCd") * MANY), "more chunks"),
    "empty PNG pixel chunks": (lambda: png(before=chunk(b"IDAT") * MANY), "more chunks"),
    "PNG texts": (lambda: png(before=chunk(b"tEXt", b"a\0b") * MANY), "more chunks"),
    "APNG frames": (
        lambda: png(after=(chunk(b"fcTL", bytes(26)) + chunk(b"fdAT", b"0000")) * (MANY // 2)),
        "more chunks",
    ),
    "JPEG comments": (lambda: jpeg(before=segment(0xFE) * MANY), "more segments"),
    "JPEG application data": (
        lambda: jpeg(before=segment(0xE2, b"ICC_PROFILE\0\1\1") * MANY),
        "more segments",
    ),
    "JPEG restart markers": (lambda: jpeg(before=b"\xff\xd0" * MANY), "more segments"),
    "JPEG tables": (
        lambda: jpeg(before=segment(0xDB, bytes(65 * 1000)) * 20),
        "more segments or tables",
    ),
    "WebP chunks": (lambda: webp(b"abcd\0\0\0\0" * MANY), "more chunks"),
    "a BMP of run lengths": (lambda: rle_bmp(b"\1\1" * 24 * 16), "is a run-length encoded BMP"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_more_parts_than_an_image_needs_are_refused_before_a_decoder_sees_them(
    bomb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, reason = BOMBS[bomb]
    data = make()
    monkeypatch.setattr("motivnet.images.io.BytesIO", lambda _: pytest.fail("a decoder was called"))
    for look in (decode_image, image_size):
        with pytest.raises(ImageError, match=f"^photo (has )?(more .*)?{reason}") as caught:
            look(data, name="photo")
        assert "\n" not in str(caught.value)


def test_counting_ends_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = 0
    unpack = struct.unpack_from

    def counting(*arguments: Any) -> Any:
        nonlocal counted
        counted += 1
        return unpack(*arguments)

    monkeypatch.setattr(image_parts.struct, "unpack_from", counting)
    with pytest.raises(ImageError):
        image_size(png(before=chunk(b"abCd") * MANY), name="photo")
    allowed = image_parts.MAX_CHUNKS + MANY * 12 // image_parts.MIN_CHUNK_BYTES
    assert counted <= allowed + 10


EXIF = Image.Exif()
EXIF[0x0112] = 6

BIG_ENDIAN = b"MM\0*\0\0\0\x08\0\1" + struct.pack(">HHIHH", 0x112, 3, 1, 6, 0)

HONEST: dict[str, Callable[[], bytes]] = {
    "a PNG of 1,000 pixel chunks": lambda: png(step=16, size=(90, 70)),
    "libpng's 8 kB chunks": lambda: png(step=8192, size=(700, 500)),
    "a row in each pixel chunk": lambda: png(step=300, size=(300, 400)),
    "an animation of 1,000 frames": lambda: png(
        before=chunk(b"acTL", struct.pack(">II", 1_000, 0)), after=frames(1_000)
    ),
    "a profile in 60 segments": lambda: jpeg(
        before=segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(60_000)) * 60
    ),
    "extended XMP": lambda: jpeg(
        before=segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(60_000)) * 100
    ),
    "a restart marker after every block": lambda: jpeg(restart_marker_blocks=1, size=(640, 480)),
    "a gain map after the end": lambda: jpeg(after=encoded("JPEG", progressive=True) * 20),
    "a motion photo": lambda: jpeg(after=np.random.default_rng(0).bytes(8_000_000)),
    "fill bytes": lambda: jpeg(before=b"\xff" * 1000),
    "a progressive photo": lambda: jpeg(progressive=True, size=(640, 480)),
    "a WebP animation": lambda: encoded(
        "WEBP", save_all=True, append_images=[Image.new("RGB", (24, 16), n) for n in range(99)]
    ),
}


@pytest.mark.parametrize("photo", HONEST)
def test_photos_of_many_parts_have_the_pixels_that_they_had(photo: str) -> None:
    data = HONEST[photo]()
    with Image.open(io.BytesIO(data)) as opened:
        expected = np.asarray(opened.convert("RGB"))
    assert np.array_equal(decode_image(data, name="photo"), expected)
    assert image_size(data, name="photo") == expected.shape[1::-1]


def raw_profile() -> bytes:
    return b"Raw profile type exif\0\0" + zlib.compress(
        b"\nexif\n  %d\n" % len(EXIF.tobytes()) + EXIF.tobytes().hex().encode()
    )


TURNED: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: encoded("JPEG", exif=EXIF),
    "PNG": lambda: encoded("PNG", exif=EXIF),
    "WebP": lambda: encoded("WEBP", exif=EXIF),
    "big-endian": lambda: jpeg(before=segment(0xE1, b"Exif\0\0" + BIG_ENDIAN)),
    "XMP": lambda: jpeg(
        before=segment(0xE1, b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="6"/>')
    ),
    "PNG with XMP": lambda: png(
        before=chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<tiff:Orientation>6<")
    ),
    "ImageMagick's PNG": lambda: png(before=chunk(b"zTXt", raw_profile())),
}  # fmt: skip


@pytest.mark.parametrize("kind", TURNED)
def test_orientation_is_found_in_the_metadata_that_the_decoder_does_not_get(kind: str) -> None:
    assert image_size(data := TURNED[kind](), name="photo") == (24, 16)
    assert decode_image(data, name="photo").shape == (24, 16, 3)


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff",
        b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHIHH", 0x112, 3, 1, 9, 0),
        b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHII", 0x112, 4, 1, 6),
        b"II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHII", 1, 1, 2**32 - 1, 8) * 65_535,
    ],
)
def test_metadata_that_is_damaged_or_hostile_leaves_the_image_as_it_is(exif: bytes) -> None:
    for data in (
        png(before=chunk(b"eXIf", exif)),
        jpeg(before=segment(0xE1, b"Exif\0\0" + exif[:65_000])),
    ):
        assert decode_image(data, name="photo").shape == (16, 24, 3)


def test_texts_and_profiles_that_decompress_to_gigabytes_are_never_unpacked() -> None:
    packed = zlib.compress(bytes(60_000_000), 9)
    texts = chunk(b"iCCP", b"a\0\0" + packed) + chunk(b"zTXt", b"a\0\0" + packed)
    texts += chunk(b"iTXt", b"a\0\1\0\0\0" + packed) + chunk(
        b"zTXt", b"Raw profile type exif\0\0" + packed
    )
    program = """
        import io, resource, sys
        from PIL import Image
        from motivnet.images import decode_image
        data, plain = sys.stdin.buffer.read(), io.BytesIO()
        Image.new("RGB", (24, 16)).save(plain, "PNG")
        decode_image(plain.getvalue(), name="warm")
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 60_000_000,) * 2)
        print(decode_image(data, name="photo").shape)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, input=png(before=texts * 20), capture_output=True, check=False)
    assert (done.stdout, done.returncode) == (b"(16, 24, 3)\n", 0), done.stderr.decode()


@pytest.mark.parametrize("length", [0, 1, 65_535])
def test_a_segment_of_an_impossible_length_is_damage(length: int) -> None:
    data = jpeg(before=b"\xff\xfe" + struct.pack(">H", length))
    with pytest.raises(ImageError, match="photo is damaged or not a valid image: a JPEG segment"):
        decode_image(data, name="photo")

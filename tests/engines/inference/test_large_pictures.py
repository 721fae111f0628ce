"""Photos above 40 million pixels: decoded reduced where that suffices, and told as they are."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from motivnet.errors import ImageError
from motivnet.images import MAX_PIXELS, USER_LIMITS, EncodedImage, ImageLimits, read_image
from motivnet.prediction import Box
from motivnet_engines.faces.detector import DETECTION_SIDE, Face
from motivnet_engines.inference.preprocessing import PreparedImage, prepare_image
from motivnet_engines.runtimes.fake import fake_manifest

ENTRY = msgspec.structs.replace(fake_manifest().input, dtype="uint8")
MODEL_SIDE = max(ENTRY.preprocessing.content_size)


class RedDetector:
    """Finds the red squares, and notes the longer side of each picture that it sees."""

    def __init__(self) -> None:
        self.sides: list[int] = []

    def detect(self, pixels: NDArray[np.uint8]) -> tuple[Face, ...]:
        self.sides.append(max(pixels.shape[:2]))
        red = np.nonzero((pixels[:, :, 0] > 180) & (pixels[:, :, 1] < 90))
        if not len(red[0]):
            return ()
        top, left = (int(axis.min()) for axis in red)
        height, width = (
            int(axis.max()) + 1 - start for axis, start in zip(red, (top, left), strict=True)
        )
        return (Face(box=Box(x=left, y=top, width=width, height=height), score=1.0),)


def photo(
    path: Path, *, face: int, size: tuple[int, int] = (8_000, 5_400), **options: object
) -> Path:
    """A grey picture with a red square of this side at (2,000, 1,000), a blue corner in it."""
    image = Image.new("RGB", size, (128, 128, 128))
    image.paste((230, 20, 20), (2_000, 1_000, 2_000 + face, 1_000 + face))
    image.paste((20, 20, 230), (2_000 + face // 2, 1_000, 2_000 + face, 1_000 + face // 2))
    image.save(path, quality=90, **options)
    return path


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photo(tmp_path_factory.mktemp("large") / "large.jpg", face=1_600)


def prepare(path: Path, detector: RedDetector | None, **options: object) -> PreparedImage:
    return prepare_image(path, name="photo", entry=ENTRY, detector=detector, **options)


def difference(first: PreparedImage, second: PreparedImage) -> float:
    """Return the mean difference of the one input of each, in grey levels."""
    [one], [other] = first.inputs, second.inputs
    return float(np.abs(one.astype(int) - other).mean())


def test_a_large_face_is_found_and_cropped_in_a_reduced_picture(large: Path) -> None:
    detector = RedDetector()
    prepared = prepare(large, detector)
    [side] = detector.sides
    assert DETECTION_SIDE <= side < 8_000 / 2
    assert (prepared.width, prepared.height) == (8_000, 5_400)
    [face] = prepared.faces
    assert face is not None
    assert face.box.iou(Box(x=2_000, y=1_000, width=1_600, height=1_600)) > 0.98
    whole = prepare_image(read_image(large), name="photo", entry=ENTRY, detector=RedDetector())
    assert difference(prepared, whole) < 3


def test_a_small_face_is_cropped_in_the_whole_picture(tmp_path: Path) -> None:
    path = photo(tmp_path / "small.jpg", face=100)
    prepared = prepare(path, RedDetector())
    assert MODEL_SIDE > 140 // 2
    whole = prepare_image(read_image(path), name="photo", entry=ENTRY, detector=RedDetector())
    assert difference(prepared, whole) < 3


def test_the_orientation_is_that_of_the_whole_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = photo(tmp_path / "turned.jpg", face=1_600, exif=exif)
    prepared = prepare(path, RedDetector())
    assert (prepared.width, prepared.height) == (5_400, 8_000)
    [face] = prepared.faces
    assert face is not None
    assert face.box.iou(Box(x=5_400 - 2_600, y=2_000, width=1_600, height=1_600)) > 0.98


def test_without_a_detector_the_model_sees_the_whole_picture(large: Path) -> None:
    prepared = prepare(large, None)
    whole = prepare_image(read_image(large), name="photo", entry=ENTRY)
    np.testing.assert_array_equal(prepared.inputs[0], whole.inputs[0])


def test_a_graph_that_resizes_gets_no_large_picture(large: Path) -> None:
    entry = msgspec.structs.replace(ENTRY, any_size=True)
    [given] = prepare_image(large, name="photo", entry=entry).inputs
    np.testing.assert_array_equal(given, ENTRY.preprocessing.resized(read_image(large)))


def test_usual_pictures_and_other_formats_are_never_reduced(tmp_path: Path) -> None:
    size = (8_000, 5_000)
    assert size[0] * size[1] == MAX_PIXELS
    for path in (
        photo(tmp_path / "usual.jpg", face=1_600, size=size),
        photo(tmp_path / "large.png", face=1_600, compress_level=1),
    ):
        detector = RedDetector()
        prepare(path, detector)
        assert detector.sides == [8_000]


def test_a_large_picture_without_a_face_is_a_result(tmp_path: Path) -> None:
    path = tmp_path / "wall.jpg"
    Image.new("L", (8_000, 5_400), 128).save(path)
    assert prepare(path, RedDetector()).faces == ()


def test_one_large_picture_is_decoded_at_a_time(large: Path, tmp_path: Path) -> None:
    data = large.read_bytes()
    first, second = (EncodedImage(data, name=name) for name in ("first", "second"))
    path = tmp_path / "usual.png"
    Image.new("RGB", (6, 4)).save(path)
    usual = EncodedImage(path.read_bytes(), name="usual")
    entered = threading.Event()

    def enter() -> None:
        with second.turn():
            entered.set()

    thread = threading.Thread(target=enter)
    with first.turn(), usual.turn():
        thread.start()
        assert not entered.wait(0.05)
    thread.join()
    assert entered.is_set()


def test_a_png_above_20_megabytes_is_read(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 2_700, 3), np.uint8)
    pixels = np.tile(noise, (9, 1, 1))
    path = tmp_path / "noise.png"
    Image.fromarray(pixels).save(path, compress_level=0)
    assert path.stat().st_size > 20_000_000
    np.testing.assert_array_equal(read_image(path), pixels)


def test_a_damaged_large_photo_is_refused(large: Path) -> None:
    data = large.read_bytes()
    with pytest.raises(ImageError, match="photo is damaged or not a valid image"):
        prepare_image(data[: len(data) // 2], name="photo", entry=ENTRY, detector=RedDetector())


def test_the_limits_are_those_of_the_caller(large: Path) -> None:
    limits = ImageLimits(max_pixels=12_345_678, advice="raise it")
    with pytest.raises(ImageError, match=r"exceeds 12 million pixels .*; raise it"):
        prepare(large, None, limits=limits)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["200.jpg", "200.png"])
def test_a_photo_of_200_megapixels_is_read(tmp_path: Path, name: str) -> None:
    size = (16_320, 12_240)
    assert size[0] * size[1] < USER_LIMITS.max_pixels
    path = photo(tmp_path / name, face=3_000, size=size)
    prepared = prepare(path, RedDetector())
    [face] = prepared.faces
    assert face is not None
    assert face.box.iou(Box(x=2_000, y=1_000, width=3_000, height=3_000)) > 0.98
    assert (prepared.width, prepared.height) == size

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from motivnet.errors import ConfigError, InputError
from motivnet.images import read_image
from motivnet.preprocess import PREPROCESSING_NAMES, Preprocessing

SIZES = [(1024, 768), (128, 96), (64, 64), (96, 128)]


def noise(height: int = 61, width: int = 47, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.shared
@pytest.mark.parametrize("preprocessing", PREPROCESSING_NAMES)
@pytest.mark.parametrize(
    "photo",
    ["london/001_neutral.jpg", "london/002_happiness.jpg", "expressions/val/surprise/0003.jpg"],
)
def test_a_photo_becomes_the_published_scripts_input(
    shared_dir: Path, photo: str, preprocessing: str
) -> None:
    key = f"{photo.replace('/', '__')}::{preprocessing.replace('-', '_')}"
    with np.load(shared_dir / "golden" / "preprocess.npz") as golden:
        channel, row, column = golden[f"{key}::index"].T
        value, (mean, deviation) = golden[f"{key}::value"], golden[f"{key}::mean_std"]
    made = Preprocessing.named(preprocessing)(read_image(shared_dir / "data" / photo))
    levels = np.abs(made[channel, row, column] - value) * 57
    assert levels.max() <= 1
    assert levels.mean() <= 0.1
    assert abs(made.mean() - mean) * 57 <= 0.1
    assert abs(made.std() - deviation) * 57 <= 0.1


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PREPROCESSING_NAMES)
def test_bytes_normalised_later_equal_the_input_made_at_once(
    name: str, size: tuple[int, int]
) -> None:
    preprocessing = Preprocessing.named(name, size=size)
    pixels = preprocessing.pixels(noise())
    assert pixels.dtype == np.uint8
    assert pixels.shape == (*size, 3)
    made = preprocessing(noise())
    assert made.dtype == np.float32
    assert made.shape == (3, *size)
    np.testing.assert_array_equal(preprocessing.normalise(pixels), made)


def test_a_batch_is_normalised_image_by_image() -> None:
    preprocessing = Preprocessing.named("stretch", size=(32, 24))
    batch = np.stack([preprocessing.pixels(noise(seed=seed)) for seed in range(3)])
    np.testing.assert_array_equal(
        preprocessing.normalise(batch), [preprocessing(noise(seed=seed)) for seed in range(3)]
    )


@pytest.mark.parametrize("size", SIZES)
def test_padding_is_white_and_the_square_between_is_the_image(size: tuple[int, int]) -> None:
    height, width = size
    side = min(size)
    top, left = (height - side) // 2, (width - side) // 2
    pixels = Preprocessing.named("square-white-pad", size=size).pixels(noise())
    square = pixels[top : top + side, left : left + side]
    np.testing.assert_array_equal(
        square, cv2.resize(noise(), (side, side), interpolation=cv2.INTER_LINEAR)
    )
    outside = np.ones(size, bool)
    outside[top : top + side, left : left + side] = False
    assert outside.sum() == height * width - side * side
    assert (pixels[outside] == 255).all()


def test_the_published_pad_has_128_rows_above_and_below() -> None:
    pixels = Preprocessing.named("square-white-pad").pixels(np.zeros((512, 512, 3), np.uint8))
    assert np.flatnonzero((pixels == 0).all(axis=(1, 2))).tolist() == list(range(128, 896))


def test_an_image_at_the_models_size_is_not_changed_by_stretching() -> None:
    image = noise(128, 96)
    np.testing.assert_array_equal(
        Preprocessing.named("stretch", size=(128, 96)).pixels(image), image
    )


def test_channels_are_normalised_with_the_published_means_and_deviations() -> None:
    image = np.tile(np.array([0, 100, 255], np.uint8), (4, 4, 1))
    made = Preprocessing.named("stretch", size=(16, 16))(image)
    expected = [(0 - 123.5) / 58.5, (100 - 116.5) / 57.0, (255 - 103.5) / 57.5]
    np.testing.assert_allclose(made[:, 3, 5], expected, rtol=1e-6)


def test_the_result_is_contiguous_for_runtimes_that_read_memory() -> None:
    assert Preprocessing.named("stretch", size=(16, 16))(noise()).flags.c_contiguous


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((1, 4, 4, 3), np.uint8),
    ],
    ids=lambda image: f"{image.dtype} {image.shape}",
)
@pytest.mark.parametrize("name", PREPROCESSING_NAMES)
def test_what_is_not_an_rgb_image_of_bytes_is_refused(name: str, image: NDArray[np.uint8]) -> None:
    with pytest.raises(InputError, match=r"an image must be \(H, W, 3\) of uint8"):
        Preprocessing.named(name, size=(16, 16))(image)


def test_an_unknown_preprocessing_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'crop'; choose stretch or square-white-pad"):
        Preprocessing.named("crop")


@pytest.mark.parametrize("values", [{"size": (0, 96)}, {"size": (128, 96), "std": (1.0, 0.0, 1.0)}])
def test_sizes_and_deviations_must_be_positive(values: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(ConfigError, match=r"must be (positive|between 1 and 4096)"):
        Preprocessing(name="stretch", **values)


def test_a_side_of_more_pixels_than_any_model_has_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be between 1 and 4096, not"):
        Preprocessing(name="stretch", size=(128, 65_536))


def test_stretching_is_opencvs_bilinear_without_antialiasing() -> None:
    image = np.random.default_rng(2).integers(0, 256, (700, 500, 3), dtype=np.uint8)
    preprocessing = Preprocessing.named("stretch", size=(256, 192))
    wanted = cv2.resize(image, (192, 256), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(preprocessing.pixels(image), wanted)
    assert (
        np.abs(
            wanted.astype(int) - cv2.resize(image, (192, 256), interpolation=cv2.INTER_AREA)
        ).max()
        > 50
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PREPROCESSING_NAMES)
def test_the_content_of_the_pixels_is_the_resized_image(name: str, size: tuple[int, int]) -> None:
    preprocessing = Preprocessing.named(name, size=size)
    resized = preprocessing.resized(noise())
    assert resized.shape[:2] == preprocessing.content_size
    np.testing.assert_array_equal(preprocessing.content(preprocessing.pixels(noise())), resized)
    np.testing.assert_array_equal(
        preprocessing.content(preprocessing.pixels(noise())[None])[0], resized
    )

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from motivnet.config import ModelConfig
from motivnet.errors import ConfigError, FileError
from motivnet.preprocess import Preprocessing
from motivnet_engines.verification.parity_run import collect_outputs
from motivnet_export.parity_images import choose_calibration_images, choose_parity_images

CONFIG = ModelConfig.named("tiny")


def fill(folder: Path, count: int) -> Path:
    folder.mkdir(exist_ok=True)
    for grey in range(count):
        assert cv2.imwrite(str(folder / f"{grey:02}.png"), np.full((128, 96, 3), grey, np.uint8))
    return folder


def greys(pixels: np.ndarray) -> list[int]:
    return pixels[:, 0, 0, 0].tolist()


def test_images_are_one_alone_and_the_rest_in_batches(stretch: Preprocessing) -> None:
    images = choose_parity_images(CONFIG, stretch, folder=None, count=6)
    sizes: list[int] = []

    def forward(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sizes.append(len(pixels))
        return np.zeros((len(pixels), 7), np.float32), np.zeros((len(pixels), 4), np.float32)

    collect_outputs(forward, images.pixels, what="test")
    assert sizes == [1, 3, 2]
    assert (images.source, images.drawn) == ("drawn faces, seed 0", True)


def test_images_of_a_folder_are_picked_evenly_and_the_folder_is_named(
    stretch: Preprocessing, tmp_path: Path
) -> None:
    images = choose_parity_images(CONFIG, stretch, folder=fill(tmp_path / "mine", 10), count=4)
    assert greys(images.pixels) == [0, 3, 6, 9]
    assert (images.source, images.drawn) == ("images of mine/", False)


def test_calibration_images_are_not_those_of_the_comparison(
    stretch: Preprocessing, tmp_path: Path
) -> None:
    folder, other = fill(tmp_path / "mine", 12), fill(tmp_path / "other", 3)

    def calibrate(images: Path | None, parity: Path | None) -> np.ndarray:
        return choose_calibration_images(
            CONFIG, stretch, folder=images, parity_folder=parity, parity_count=4
        ).pixels

    compared = choose_parity_images(CONFIG, stretch, folder=folder, count=4).pixels
    assert sorted(greys(compared) + greys(calibrate(folder, folder))) == list(range(12))
    assert greys(calibrate(other, folder)) == [0, 1, 2]
    assert greys(calibrate(other, other)) == [0, 1, 2], "the folder has no others"
    drawn = choose_parity_images(CONFIG, stretch, folder=None, count=64).pixels
    assert not np.array_equal(calibrate(None, None), drawn)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("empty", ConfigError, "empty has no image; --images takes a folder of images"),
        ("missing", ConfigError, "missing is not a folder; --images takes a folder of images"),
        ("damaged", ConfigError, r"no image that can be read: 1 x unreadable image \(.*1.png is "),
        ("a" * 300, FileError, "cannot be read: File name too long"),
    ],
)
def test_folder_without_usable_images_is_named(
    name: str, error: type[Exception], message: str, stretch: Preprocessing, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "1.png").write_bytes(b"no image")
    with pytest.raises(error, match=message):
        choose_parity_images(CONFIG, stretch, folder=tmp_path / name, count=2)


def test_images_that_cannot_be_read_are_replaced_by_others_and_said(
    stretch: Preprocessing, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = fill(tmp_path / "faces", 8)
    files = sorted(folder.iterdir())
    files[0].write_bytes(b"text")
    (folder / "notes.txt").touch()
    found = choose_parity_images(CONFIG, stretch, folder=folder, count=4)
    assert len(found.pixels) == 4
    assert greys(found.pixels) == [1, 2, 4, 7]
    others = choose_calibration_images(
        CONFIG, stretch, folder=folder, parity_folder=folder, parity_count=4
    )
    assert greys(others.pixels) == [3, 5, 6]
    walked, *read = caplog.messages
    assert walked == f"{folder}: left out 1 x not an image file (notes.txt)"
    assert read == 2 * [
        f"{folder}: left out 1 x unreadable image (00.png is not a JPEG, PNG, "
        "WebP, BMP, TIFF, AVIF or HEIC image; convert it to one of these)"
    ]

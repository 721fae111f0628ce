"""Opening the face detector, and the square crops of faces."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from motivnet.errors import FileError, InputError
from motivnet.prediction import Box
from motivnet_engines.faces import YUNET, open_detector
from motivnet_engines.faces.detector import MARGIN, square_crop


def test_the_detector_opens_without_a_network_a_home_or_a_cache(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    assert open_detector() is not None


def test_a_copy_of_the_model_may_be_given(tmp_path: Path) -> None:
    copy = shutil.copy(YUNET, tmp_path)
    assert open_detector(Path(copy)) is not None


def test_another_model_is_refused_before_anything_parses_it(tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(bytes(YUNET.stat().st_size))
    with pytest.raises(FileError, match=rf"other.onnx is not {YUNET.name} \(SHA-256 8f2383e4"):
        open_detector(other)


def test_a_detector_file_that_is_missing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"none\.onnx does not exist"):
        open_detector(tmp_path / "none.onnx")


@pytest.fixture
def picture() -> np.ndarray:
    """Every pixel tells its row and column."""
    rows, columns = np.indices((100, 120))
    return np.stack([rows, columns, rows ^ columns], axis=-1).astype(np.uint8)


def test_a_crop_is_the_square_around_the_box(picture: np.ndarray) -> None:
    crop = square_crop(picture, Box(x=50, y=30, width=10, height=20), margin=0.25)
    assert np.array_equal(crop, picture[25:55, 40:70])


def test_the_margin_is_added_on_each_side_of_the_longer_side(picture: np.ndarray) -> None:
    box = Box(x=50, y=40, width=30, height=20)
    assert [square_crop(picture, box, margin=margin).shape[0] for margin in (0.0, 0.1, 0.5)] == [
        30,
        36,
        60,
    ]
    assert square_crop(picture, box).shape == (round(30 * (1 + 2 * MARGIN)),) * 2 + (3,)


@pytest.mark.parametrize(
    "box",
    [
        Box(x=-5, y=-8, width=40, height=40),
        Box(x=100, y=80, width=40, height=40),
        Box(x=0, y=0, width=120, height=100),
        Box(x=-200, y=40, width=201, height=10),
    ],
)
def test_beyond_the_edge_the_outermost_pixels_are_repeated(box: Box, picture: np.ndarray) -> None:
    crop = square_crop(picture, box, margin=0.1)
    side = round(max(box.width, box.height) * 1.2)
    left = int(np.floor(box.x + box.width / 2 - side / 2 + 0.5))
    top = int(np.floor(box.y + box.height / 2 - side / 2 + 0.5))
    rows, columns = (
        np.clip(np.arange(top, top + side), 0, 99),
        np.clip(np.arange(left, left + side), 0, 119),
    )
    assert np.array_equal(crop, picture[rows[:, None], columns])


def test_a_box_below_a_pixel_gives_one(picture: np.ndarray) -> None:
    assert square_crop(picture, Box(x=5.2, y=6.1, width=0.1, height=0.2)).shape == (1, 1, 3)


@pytest.mark.parametrize("x", [-50, 130])
def test_a_box_outside_the_picture_is_refused(x: int, picture: np.ndarray) -> None:
    with pytest.raises(InputError, match="lies outside the picture of 120 x 100 pixels"):
        square_crop(picture, Box(x=x, y=10, width=10, height=10))

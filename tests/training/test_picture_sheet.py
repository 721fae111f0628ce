from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from motivnet.datasets.read import read_dataset
from motivnet.datasets.sample import Dataset
from motivnet.errors import ConfigError
from motivnet.images import read_image
from motivnet.labels import EMOTIONS
from motivnet.synthetic import draw_face
from motivnet_training.picture_sheet import picture_sheet, write_picture_sheet

SEVEN = EMOTIONS[:7]
TILE = 112


@pytest.fixture
def faces(tmp_path: Path) -> Dataset:
    for emotion in ("anger", "sadness"):
        (tmp_path / "faces" / emotion).mkdir(parents=True)
        for seed in range(12):
            cv2.imwrite(
                str(tmp_path / "faces" / emotion / f"{seed}.png"),
                draw_face(emotion, seed=seed, size=(32, 24)),
            )
    return read_dataset(tmp_path / "faces", labels=SEVEN)


def tile_colours(sheet: NDArray[np.uint8], row: int, columns: int) -> list[int]:
    """Distinct colours in the middle of each tile: one of an empty tile, many of a face."""
    top = 20 + 44 + row * (TILE + 6)
    lefts = [20 + 132 + column * (TILE + 6) for column in range(columns)]
    return [
        len(np.unique(sheet[top : top + TILE, left + 40 : left + 72].reshape(-1, 3), axis=0))
        for left in lefts
    ]


def test_a_row_shows_faces_of_its_class_and_an_empty_class_none(faces: Dataset) -> None:
    sheet = picture_sheet(faces, per_class=4)
    assert all(colours > 100 for colours in tile_colours(sheet, SEVEN.index("anger"), 4))
    assert tile_colours(sheet, SEVEN.index("neutral"), 4) == [1, 1, 1, 1]


def test_the_sheet_follows_the_seed(faces: Dataset) -> None:
    np.testing.assert_array_equal(picture_sheet(faces, seed=1), picture_sheet(faces, seed=1))
    assert (picture_sheet(faces, seed=1) != picture_sheet(faces, seed=2)).any()


def test_what_cannot_be_read_is_passed_over(faces: Dataset) -> None:
    for seed in range(9):
        (faces.root / "anger" / f"{seed}.png").unlink()
    colours = tile_colours(picture_sheet(faces, per_class=4), SEVEN.index("anger"), 4)
    assert [number > 100 for number in colours] == [True, True, True, False]


def test_the_title_fits_a_narrow_sheet(faces: Dataset) -> None:
    narrow = picture_sheet(faces, per_class=1)
    assert narrow.shape[1] > 20 + 132 + TILE + 20
    assert (narrow[:, -15:] == 255).all()


def test_the_written_sheet_is_a_png_of_the_same_pixels(faces: Dataset, tmp_path: Path) -> None:
    sheet = picture_sheet(faces)
    write_picture_sheet(tmp_path / "sheets" / "faces.png", sheet)
    np.testing.assert_array_equal(read_image(tmp_path / "sheets" / "faces.png"), sheet)


def test_a_sheet_of_faces_is_for_this_user_alone(
    faces: Dataset, tmp_path: Path, open_umask: None
) -> None:
    write_picture_sheet(tmp_path / "faces.png", picture_sheet(faces, per_class=1))
    assert (tmp_path / "faces.png").stat().st_mode & 0o777 == 0o600


def test_another_format_is_refused(faces: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"faces.jpg must end in .png"):
        write_picture_sheet(tmp_path / "faces.jpg", picture_sheet(faces, per_class=1))


def test_a_sheet_without_faces_is_refused(faces: Dataset) -> None:
    with pytest.raises(ConfigError, match="at least one image of each class, not 0"):
        picture_sheet(faces, per_class=0)

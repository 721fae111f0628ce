"""Annotated copies and montage sheets as files."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from motivnet.errors import FileError
from motivnet.images import read_image
from motivnet.prediction import Prediction
from motivnet_engines.writers import montage as montage_module
from motivnet_engines.writers.drawing import (
    WRITTEN_SUFFIXES,
    annotated_copies,
    annotated_picture,
    write_annotated,
    write_picture,
)
from motivnet_engines.writers.montage import (
    TILE,
    MontageWriter,
    face_tile,
    sheet_paths,
    sheets_text,
    short_names,
)
from motivnet_engines.writers.text import open_writer


def test_images_of_one_folder_keep_their_names(tmp_path: Path) -> None:
    paths = [tmp_path / "photos" / name for name in ("x.jpg", "y.PNG")]
    assert annotated_copies(paths, Path("out")) == {path: Path("out") / path.name for path in paths}


def test_images_of_one_name_stay_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [Path("a/x.jpg"), Path("b/x.jpg"), Path("b/../c/x.jpg"), tmp_path / "x.jpg"]
    copies = list(annotated_copies(paths, Path("out")).values())
    assert copies == [
        Path("out/a/x.jpg"),
        Path("out/b/x.jpg"),
        Path("out/c/x.jpg"),
        Path("out/x.jpg"),
    ]


def test_a_name_says_the_format(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("photo", "clip.mov", "clip.mp4", "scan.tif")]
    names = [copy.name for copy in annotated_copies(paths, Path("out")).values()]
    assert names == ["photo.png", "clip.mov.mp4", "clip.mp4", "scan.tif.png"]


def write_sheet_of_noise(noise: NDArray[np.uint8], path: Path) -> None:
    montage = MontageWriter(path)
    montage.add_tile(noise)
    montage.close()
    if montage.failure is not None:
        raise montage.failure


@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.bmp", "x.webp"])
def test_a_copy_is_an_image_of_its_format(name: str, tmp_path: Path, face) -> None:
    pixels = np.full((400, 500, 3), 100, np.uint8)
    write_annotated(pixels, tmp_path / "new" / name, [face(box=(100.0, 100.0, 90.0, 120.0))])
    copy = read_image(tmp_path / "new" / name)
    assert copy.shape == pixels.shape
    assert (abs(copy.astype(int) - pixels) > 60).any()


@pytest.mark.parametrize("write", [write_picture, write_sheet_of_noise])
@pytest.mark.parametrize("suffix", sorted(WRITTEN_SUFFIXES))
def test_a_picture_is_whole_or_not_there_however_little_the_disk_lacks(
    suffix: str, write: Callable[[NDArray[np.uint8], Path], None], tmp_path: Path, file_growth
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (160, 160, 3), np.uint8)
    write(noise, tmp_path / f"whole{suffix}")
    size = (tmp_path / f"whole{suffix}").stat().st_size
    for missing in (1, size // 20, size // 2):
        with (
            file_growth(size - missing),
            pytest.raises(FileError, match=f"cut{suffix} was not written: File too large"),
        ):
            write(noise, tmp_path / f"cut{suffix}")
        assert not (tmp_path / f"cut{suffix}").exists()


def write_copy(path: Path, face: Prediction) -> None:
    write_annotated(np.zeros((320, 320, 3), np.uint8), path.with_suffix(".png"), [face])


def write_sheet(path: Path, face: Prediction) -> None:
    with contextlib.closing(MontageWriter(path.with_suffix(".png"))) as montage:
        montage.add(np.zeros((320, 320, 3), np.uint8), face, name="x.jpg")


def write_table(form: Literal["csv", "jsonl"]) -> Callable[[Path, Prediction], None]:
    def write(path: Path, face: Prediction) -> None:
        with open_writer(
            form,
            labels=tuple(face.probabilities),
            out=path.with_suffix(f".{form}"),
            embeddings=True,
        ):
            pass

    return write


@pytest.mark.parametrize(
    "write", [write_copy, write_sheet, write_table("csv"), write_table("jsonl")]
)
def test_what_shows_or_tells_of_people_is_for_this_user_alone(
    write, tmp_path: Path, face, open_umask: None
) -> None:
    write(tmp_path / "new" / "result", face(box=(100.0, 100.0, 90.0, 120.0)))
    [file] = (tmp_path / "new").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_small_picture_is_enlarged_so_that_its_caption_is_legible(face) -> None:
    pixels = np.full((40, 64, 3), 100, np.uint8)
    drawn = annotated_picture(pixels, [face(box=(20.0, 10.0, 20.0, 24.0))])
    assert drawn.shape == (200, 320, 3)
    rows, columns = np.nonzero((drawn != 100).any(axis=2))
    assert columns.min() == pytest.approx(100, abs=2)
    assert rows.max() == pytest.approx(170, abs=2)


def test_a_montage_shows_every_face_once(tmp_path: Path, face) -> None:
    with contextlib.closing(MontageWriter(tmp_path / "sheet.png")) as montage:
        for index in range(10):
            pixels = np.full((200, 200, 3), (20 * index, 0, 255), np.uint8)
            montage.add(pixels, face(box=(50.0, 50.0, 80.0, 100.0)), name=f"{index}.jpg")
    assert montage.sheets == [tmp_path / "sheet.png"]
    sheet = read_image(montage.sheets[0])
    for index in range(10):
        assert (sheet == (20 * index, 0, 255)).all(axis=2).sum() == TILE * TILE


def test_a_full_sheet_is_followed_by_another(
    tmp_path: Path, face, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(montage_module, "TILES_OF_A_SHEET", 3)
    monkeypatch.setattr(montage_module, "MAX_SHEETS", 2)
    with contextlib.closing(MontageWriter(tmp_path / "sheet.jpg")) as montage:
        for _ in range(8):
            montage.add(np.zeros((30, 30, 3), np.uint8), face(), name="x.jpg")
    assert [path.name for path in montage.sheets] == ["sheet.jpg", "sheet-2.jpg"]
    assert montage.left_out == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sheet-2.jpg", "sheet.jpg"]


def test_a_montage_without_a_face_is_an_empty_sheet(tmp_path: Path) -> None:
    MontageWriter(tmp_path / "sheet.png").close()
    assert (read_image(tmp_path / "sheet.png") == 255).all()


def test_a_sheet_that_cannot_be_written_is_the_end_of_the_montage(
    tmp_path: Path, face, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(montage_module, "TILES_OF_A_SHEET", 2)
    (tmp_path / "sheet-2.png").mkdir()
    with contextlib.closing(MontageWriter(tmp_path / "sheet.png")) as montage:
        for _ in range(9):
            montage.add(np.zeros((30, 30, 3), np.uint8), face(), name="x.jpg")
    assert isinstance(montage.failure, FileError)
    assert "sheet-2.png is a directory" in str(montage.failure)
    assert montage.sheets == [tmp_path / "sheet.png"]
    assert montage.left_out == 5


def test_a_long_name_leaves_the_number_of_the_face_whole(face) -> None:
    pixels = np.zeros((40, 40, 3), np.uint8)
    tiles = [
        face_tile(pixels, face(), name="a very long name of a file.jpg", detail=f" #{number}")
        for number in (1, 2)
    ]
    assert (tiles[0] != tiles[1]).any()


@pytest.mark.parametrize(
    ("count", "text"), [(1, "s.png"), (2, "s.png and s-2.png"), (4, "s.png and s-2.png to s-4.png")]
)
def test_the_sheets_are_told_in_one_line(count: int, text: str) -> None:
    assert sheets_text(sheet_paths(Path("s.png"))[:count]) == text


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["d1/a.jpg", "d1/b.jpg"], ["a.jpg", "b.jpg"]),
        (["d1/a.jpg", "d2/a.jpg", "b.jpg"], ["d1/a.jpg", "d2/a.jpg", "b.jpg"]),
        (["x/d/a.jpg", "y/d/a.jpg", "d/../b.jpg"], ["x/d/a.jpg", "y/d/a.jpg", "b.jpg"]),
        (["d/a.jpg", "d/./a.jpg"], ["a.jpg", "a.jpg"]),
    ],
)
def test_a_short_name_tells_a_file_from_the_others(paths: list[str], names: list[str]) -> None:
    found = short_names(map(Path, paths))
    assert [found[Path(path)] for path in paths] == names


@pytest.mark.parametrize("size", [(1, 3000), (3000, 1), (40, 60)])
def test_a_tile_has_one_size_whatever_it_shows(size: tuple[int, int], face) -> None:
    pixels = np.zeros((*size, 3), np.uint8)
    name = "a very long name of a file that fits no tile \n.jpg"
    assert face_tile(pixels, face(), name=name).shape == face_tile(pixels, face(), name="").shape


def test_location_and_other_exif_are_not_copied(tmp_path: Path, face) -> None:
    exif = Image.Exif()
    exif[0x010F] = "camera"
    Image.new("RGB", (400, 400)).save(tmp_path / "x.jpg", exif=exif)
    write_annotated(read_image(tmp_path / "x.jpg"), tmp_path / "out" / "x.jpg", [face()])
    with Image.open(tmp_path / "out" / "x.jpg") as copy:
        assert not copy.getexif()

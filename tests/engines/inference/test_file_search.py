"""What a file, a folder or a pattern names: what is found, left out, and cannot be read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from PIL import Image

from motivnet.errors import FileError
from motivnet_engines.inference.file_search import find_files

Permissions = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def folder(tmp_path: Path, pixels) -> Path:
    """Three images, one of them in a folder below, beside what is no image or hidden."""
    names = ["b.png", "a.JPG", "inner/c.bmp", ".hidden.png", ".cache/d.png"]
    for name, image in zip(names, pixels(5), strict=True):
        path = tmp_path / "faces" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    (tmp_path / "faces" / "notes.txt").write_text("no image")
    return tmp_path / "faces"


def names(path: Path, folder: Path) -> list[str]:
    return [file.relative_to(folder).as_posix() for file in find_files(path).files]


def test_a_folder_becomes_its_images_in_order(folder: Path) -> None:
    assert names(folder, folder) == ["a.JPG", "b.png", "inner/c.bmp"]
    assert find_files(folder / "notes.txt").files == (folder / "notes.txt",)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"holds no image \(JPEG, PNG, .* or HEIC\)$"):
        find_files(tmp_path)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.png", ["b.png"]),
        ("**/*.[bp][mn][pg]", ["b.png", "inner/c.bmp"]),
        ("inn*", ["inner/c.bmp"]),
    ],
)
def test_a_pattern_that_the_shell_left_is_expanded(
    pattern: str, expected: list[str], folder: Path
) -> None:
    assert names(folder / pattern, folder) == expected


def test_a_file_that_a_pattern_fits_twice_comes_once(folder: Path) -> None:
    assert names(folder / "**", folder) == ["a.JPG", "b.png", "inner/c.bmp"]


def test_a_folder_without_images_within_a_pattern_stops_nothing(folder: Path) -> None:
    (folder / "empty").mkdir()
    assert find_files(folder / "[ei]*").files == (folder / "inner" / "c.bmp",)
    with pytest.raises(FileError, match=r"empt\* fits no image \(JPEG, "):
        find_files(folder / "empt*")


def test_videos_of_a_folder_are_no_images(folder: Path) -> None:
    (folder / "clip.mp4").write_bytes(b"")
    assert folder / "clip.mp4" not in find_files(folder).files


def test_a_file_may_be_named_like_a_pattern(folder: Path) -> None:
    odd = folder / "b[1].png"
    (folder / "b.png").rename(odd)
    assert find_files(odd).files == (odd,)


def test_a_pattern_that_fits_nothing_is_refused(folder: Path) -> None:
    with pytest.raises(FileError, match=r"\*\.gif fits no file; check the pattern"):
        find_files(folder / "*.gif")


def test_photos_are_taken_by_every_name_of_their_format(folder: Path) -> None:
    expected = ["1.jfif", "2.JPE", "3.jpeg", "4.tif", "5.TIFF", "6.heic", "7.avif", "8.webp"]
    for name in expected:
        (folder / name).touch()
    assert names(folder, folder)[: len(expected)] == expected


def test_one_line_counts_what_is_left_out_and_why(folder: Path) -> None:
    (folder / "more.txt").touch()
    (folder / "dangling").symlink_to("nowhere")
    (folder / "Thumbs.db").touch()
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "._b.png").touch()
    [line] = find_files(folder).left_out
    assert line.startswith(f"{folder}: left out ")
    assert "2 x not named as an image (more.txt, notes.txt)" in line
    assert "1 x link to nothing (dangling)" in line
    assert find_files(folder).unreadable == ()


def test_an_image_behind_a_dangling_link_is_for_its_reader_to_refuse(folder: Path) -> None:
    (folder / "z.jpg").symlink_to("nowhere")
    assert names(folder, folder)[-1] == "z.jpg"


@pytest.mark.parametrize("pattern", ["", "**", "**/*.*", "*"])
def test_a_circle_of_links_gives_each_photo_once(pattern: str, folder: Path) -> None:
    for name in ("first", "second"):  # with two, the names double at every turn
        (folder / "inner" / name).symlink_to(folder)
    expected = ["a.JPG", "b.png", "inner/c.bmp"]
    assert names(folder / pattern, folder) == expected


def test_a_linked_folder_is_read_once_and_after_the_others(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "d.png").touch()
    for name in ("0", "1"):
        (folder / name).symlink_to(tmp_path / "elsewhere")
    (folder / "2").symlink_to("inner")
    assert names(folder, folder) == ["0/d.png", "a.JPG", "b.png", "inner/c.bmp"]
    assert names(folder / "**" / "*.png", folder) == ["0/d.png", "b.png"]
    assert names(folder / "2" / "*", folder) == ["2/c.bmp"]


@pytest.mark.parametrize("pattern", ["", "**/*.*"])
def test_a_folder_that_may_not_be_read_stops_no_other(
    pattern: str, folder: Path, public_folder: Path, permissions: Permissions
) -> None:
    copy = shutil.copytree(folder, public_folder / "faces")
    (copy / "inner").chmod(0)
    with permissions():
        found = find_files(copy / pattern)
    assert [file.name for file in found.files if file.suffix != ".txt"] == ["a.JPG", "b.png"]
    assert found.unreadable == (f"{copy / 'inner'} cannot be read: Permission denied",)


def test_a_folder_that_may_not_be_read_itself_is_a_line(
    public_folder: Path, permissions: Permissions
) -> None:
    public_folder.chmod(0o711)
    with permissions():
        found = find_files(public_folder)
    assert found.files == ()
    assert found.unreadable == (f"{public_folder} cannot be read: Permission denied",)


@pytest.mark.parametrize("name", ["a" * 300, "loop", "locked/photo.jpg", "nul\0.jpg"])
def test_a_path_that_the_system_refuses_is_for_its_reader_to_refuse(
    name: str, public_folder: Path, permissions: Permissions
) -> None:
    (public_folder / "loop").symlink_to("loop")
    (public_folder / "locked").mkdir(mode=0)
    with permissions():
        assert find_files(public_folder / name).files == (public_folder / name,)


def test_a_pattern_does_not_leave_the_working_directory_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert find_files(Path("**/*.png")).files == (Path("b.png"),)
    assert os.fspath(find_files(Path("./inner/**")).files[0]) == "inner/c.bmp"


def add_what_systems_leave(folder: Path) -> None:
    for name in ("@eaDir/t.jpg", "__MACOSX/b.jpg", "inner/__MACOSX/c.jpg", "inner/Thumbs.db"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize(
    ("pattern", "left_out"),
    [
        ("**", ["dangling", "notes.txt"]),
        ("**/*", ["dangling", "notes.txt"]),
        ("*", ["dangling", "notes.txt"]),
        ("**/*.*", ["notes.txt"]),
        ("**/*.[jJbp]*", []),
    ],
)
def test_a_pattern_takes_no_more_than_a_folder_and_tells_of_the_rest_once(
    pattern: str, left_out: list[str], folder: Path
) -> None:
    add_what_systems_leave(folder)
    (folder / "dangling").symlink_to("nowhere")
    assert names(folder / pattern, folder) == ["a.JPG", "b.png", "inner/c.bmp"]
    told = " ".join(find_files(folder / pattern).left_out)
    assert [name for name in ("dangling", "notes.txt") if told.count(name) == 1] == left_out


def test_what_is_of_the_system_is_taken_where_it_is_named(folder: Path) -> None:
    add_what_systems_leave(folder)
    assert names(folder / "__MACOSX" / "*.jpg", folder) == ["__MACOSX/b.jpg"]
    assert names(folder / ".hid*", folder) == [".hidden.png"]


def test_a_suffix_that_is_named_is_for_the_reader_to_refuse(folder: Path) -> None:
    assert names(folder / "*.txt", folder) == ["notes.txt"]


@pytest.mark.parametrize("pattern", ["locked/*.jpg", "*/*.jpg", "locked/inner/*.jpg", "**/*.jpg"])
def test_a_folder_in_a_pattern_that_may_not_be_read_is_a_line(
    pattern: str, public_folder: Path, permissions: Permissions
) -> None:
    (public_folder / "locked").mkdir(mode=0)
    with permissions():
        found = find_files(public_folder / pattern)
    assert found.files == ()
    [line] = found.unreadable
    assert line.startswith(f"{public_folder / 'locked'}")
    assert line.endswith(" cannot be read: Permission denied")

"""The walk of image folders, on really written files, links and permissions."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from motivnet.datasets.image_folders import (
    first_images,
    pick_evenly,
    visible,
    walk_images,
)
from motivnet.errors import FileError
from motivnet.images import IMAGE_SUFFIXES
from motivnet.path_kind import is_file, is_folder, kind_of


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def names_in(folder: Path) -> list[str]:
    return [file.relative_to(folder).as_posix() for file in walk_images(folder).files]


def test_hidden_files_and_folders_and_other_files_are_left_out_at_every_depth(
    tmp_path: Path,
) -> None:
    names = ("b/2.JPG", "a/x/1.png", "a/.1.png", ".cache/2.png", "a/notes.txt", "c.webp")
    (fill(tmp_path / ".hidden", *names) / "d.png").mkdir()
    assert names_in(tmp_path / ".hidden") == ["a/x/1.png", "b/2.JPG", "c.webp"]
    assert [file.name for file in walk_images(tmp_path, suffixes={".txt"}).files] == []


def test_every_name_of_a_picture_is_taken_in_any_case(tmp_path: Path) -> None:
    names = [
        *("a.jpg", "b.JPEG", "c.jpe", "d.JFIF", "e.png", "f.BMP", "g.webp", "h.tif", "i.Tiff"),
        *("j.avif", "k.HEIC", "l.heif", "m.hif"),
    ]
    assert names_in(fill(tmp_path, *names, "n.gif.txt", "o.mp4")) == names
    assert {Path(name).suffix.lower() for name in names} == set(IMAGE_SUFFIXES)


RUBBISH = (
    *("Thumbs.db", ".DS_Store", "Desktop.ini", "__MACOSX/._1.jpg", "__MACOSX/2.jpg", "._3.jpg"),
    *("@eaDir/4.jpg", ".ipynb_checkpoints/5.jpg", "$RECYCLE.BIN/6.jpg", "lost+found/7.jpg"),
)


def test_rubbish_is_counted_and_not_worth_a_line_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = walk_images(fill(tmp_path, "1.jpg", *RUBBISH))
    found.warn()
    assert ([file.name for file in found.files], found.rubbish) == (["1.jpg"], 9)
    assert caplog.messages == []
    assert [entry.name for entry in visible(tmp_path)] == ["1.jpg"]


def test_one_line_says_what_was_left_out_and_names_three(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, "1.jpg", "a/1.txt", "a/2.txt", "b/3.txt", "b/4.mp4", ".DS_Store")
    (tmp_path / "away").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.jpg")
    with caplog.at_level(logging.WARNING):
        walk_images(tmp_path).warn()
    assert caplog.messages == [
        f"{tmp_path}: left out 1 x link to nothing (away), 1 x not a regular file "
        "(pipe.jpg), 4 x not an image file (a/1.txt, a/2.txt, b/3.txt, …), "
        "1 x hidden or of the system"
    ]


def test_a_link_to_an_image_is_taken_also_if_it_leads_nowhere_for_its_reader_to_say(
    tmp_path: Path,
) -> None:
    fill(tmp_path / "out", "1.jpg")
    folder = fill(tmp_path / "in", "0.jpg")
    (folder / "1.jpg").symlink_to(tmp_path / "out" / "1.jpg")
    (folder / "2.jpg").symlink_to(tmp_path / "gone.jpg")
    (folder / "3.jpg").symlink_to("3.jpg")
    (folder / "4").symlink_to("4")
    found = walk_images(folder)
    assert [file.name for file in found.files] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert found.left_out == (("link that leads to itself", "4"),)


def test_a_circle_of_links_gives_every_image_once_under_its_own_name(tmp_path: Path) -> None:
    folder = fill(tmp_path / "photos", "b/1.jpg", "b/c/2.jpg", "3.jpg")
    (folder / "a").symlink_to(folder / "b")
    (folder / "b" / "up").symlink_to(folder)
    (folder / "b" / "c" / "self").symlink_to(".")
    found = walk_images(folder)
    assert [file.relative_to(folder).as_posix() for file in found.files] == [
        "3.jpg",
        "b/1.jpg",
        "b/c/2.jpg",
    ]
    assert sorted(found.left_out) == [
        ("folder that is read under another name", name) for name in ("a", "b/c/self", "b/up")
    ]


def test_a_linked_folder_is_followed_once(tmp_path: Path) -> None:
    album = fill(tmp_path / "album", "1.jpg", "deep/2.jpg")
    folder = fill(tmp_path / "photos", "0.jpg")
    for name in ("first", "second"):
        (folder / name).symlink_to(album)
    assert names_in(folder) == ["0.jpg", "first/1.jpg", "first/deep/2.jpg"]


def test_a_name_that_is_not_utf_8_is_a_file_as_any_other(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")).touch()
    [file] = walk_images(tmp_path).files
    assert file.exists()
    assert os.fsencode(file.name) == b"caf\xe9.jpg"


def test_a_part_that_may_not_be_read_is_named_and_the_rest_is_given(
    public_folder: Path, permissions: Callable[[], AbstractContextManager[None]]
) -> None:
    folder = fill(public_folder / "photos", "a/1.jpg", "b/2.jpg", "c/3.jpg")
    fill(public_folder / "closed" / "album", "4.jpg")
    (folder / "d").symlink_to(public_folder / "closed" / "album")
    for closed in (folder / "b", public_folder / "closed"):
        closed.chmod(0)
    with permissions():
        found = walk_images(folder)
    assert [file.name for file in found.files] == ["1.jpg", "3.jpg"]
    reason = "unreadable: Permission denied"
    assert sorted(found.unreadable) == [(reason, "b"), (reason, "d")]
    with pytest.raises(FileError, match=r"photos cannot be read as a whole: 2 x unreadable: Perm"):
        found.refuse_unreadable()


def test_a_folder_that_may_not_be_read_itself_is_one_line(
    public_folder: Path, permissions: Callable[[], AbstractContextManager[None]]
) -> None:
    folder = fill(public_folder / "closed" / "photos", "1.jpg")
    (public_folder / "closed").chmod(0)
    with permissions():
        for path, reads in ((folder, walk_images), (folder, kind_of), (folder.parent, walk_images)):
            with pytest.raises(FileError, match=f"^{path} cannot be read: Permission denied$"):
                reads(path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "No such file or directory"),
        ("1.jpg", "Not a directory"),
        ("a" * 300, "File name too long"),
        ("loop", "Too many levels of symbolic links"),
        ("a\0b", "embedded null"),
    ],
)
def test_what_is_no_folder_is_one_line(tmp_path: Path, name: str, reason: str) -> None:
    (fill(tmp_path, "1.jpg") / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(FileError, match=f"cannot be read: {reason}"):
        walk_images(tmp_path / name)


def test_what_a_path_names_is_told_or_refused(tmp_path: Path) -> None:
    fill(tmp_path, "1.jpg")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    kinds = {".": "folder", "1.jpg": "file", "pipe": "other", "none": None, "1.jpg/x": None}
    assert {name: kind_of(tmp_path / name) for name in kinds} == kinds
    assert is_file(tmp_path / "1.jpg")
    assert not is_folder(tmp_path / "1.jpg")
    for name in ("loop", "a" * 300, "a\0b"):
        with pytest.raises(FileError, match="cannot be read: "):
            kind_of(tmp_path / name)


def test_the_first_and_the_last_image_of_each_folder_stand_for_it(tmp_path: Path) -> None:
    fill(tmp_path, "0.jpg", "a/1.png", "a/2.png", "a/3.png", "a/x.txt", "b/4.png", "c/x.txt")
    assert [file.name for file in first_images(tmp_path)] == [
        "0.jpg",
        "1.png",
        "3.png",
        *["4.png"] * 2,
    ]


@pytest.mark.parametrize(
    ("items", "count", "picked"),
    [("abcdefghi", 3, "aei"), ("abcd", 9, "abcd"), ("abc", 1, "a"), ("", 3, ""), ("ab", 0, "")],
)
def test_items_are_picked_evenly_from_the_first_to_the_last(
    items: str, count: int, picked: str
) -> None:
    assert pick_evenly(items, count) == list(picked)

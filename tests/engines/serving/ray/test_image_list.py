"""Lists of images: folders, text files and Parquet, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from motivnet.errors import DatasetError, FileError
from motivnet_engines.serving.ray import shards
from motivnet_engines.serving.ray.shards import digest_of_paths, list_images


def test_lists_that_join_to_the_same_text_differ() -> None:
    assert digest_of_paths(["/a\n/b"]) != digest_of_paths(["/a", "/b"])


def test_a_file_of_paths_names_them_relative_to_itself(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a.jpg\n\n/b.jpg\nfaces/ä b.jpg\n")
    assert list_images(tmp_path / "list.txt", allow_outside=True) == [
        str(tmp_path / "a.jpg"),
        "/b.jpg",
        str(tmp_path / "faces/ä b.jpg"),
    ]


@pytest.mark.parametrize("name", ["list.txt", "LIST.TXT"])
def test_a_line_ends_where_a_file_of_any_system_ends_it_and_nowhere_else(
    name: str, tmp_path: Path
) -> None:
    names = [f"a{character}b.jpg" for character in "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\r"]
    (tmp_path / name).write_bytes("\r\n".join([*names, "last.jpg"]).encode())
    assert list_images(tmp_path / name) == [str(tmp_path / one) for one in [*names, "last.jpg"]]


def test_a_column_of_parquet_names_them(tmp_path: Path) -> None:
    parquet.write_table(
        pyarrow.table({"path": ["/b.jpg", "/a.jpg"], "id": [1, 2]}), tmp_path / "list.parquet"
    )
    assert list_images(tmp_path / "list.parquet", allow_outside=True) == ["/b.jpg", "/a.jpg"]


@pytest.mark.parametrize("name", ["/etc/passwd", "../a.jpg", "faces/../../a.jpg"])
def test_a_list_names_nothing_outside_its_folder_unless_it_is_allowed(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text(f"inside.jpg\nfaces/../other.jpg\n{tmp_path}/absolute.jpg\n")
    assert len(list_images(tmp_path / "list.txt")) == 3
    (tmp_path / "list.txt").write_text(f"inside.jpg\n{name}\n")
    parquet.write_table(pyarrow.table({"path": ["inside.jpg", name]}), tmp_path / "list.parquet")
    for source in ("list.txt", "list.parquet"):
        with pytest.raises(DatasetError, match=r"outside its folder, .*; .*--allow-outside"):
            list_images(tmp_path / source)
        assert len(list_images(tmp_path / source, allow_outside=True)) == 2


def test_a_folder_of_parquet_is_one_list_without_the_notes_of_its_writer(tmp_path: Path) -> None:
    folder = tmp_path / "list.parquet"
    (folder / "year=2026").mkdir(parents=True)
    for name, path in (
        ("b.parquet", "b.jpg"),
        ("a.parquet", "a.jpg"),
        ("year=2026/c.parquet", "c.jpg"),
    ):
        parquet.write_table(pyarrow.table({"path": [path]}), folder / name)
    for name in ("_SUCCESS", ".a.parquet.crc"):
        (folder / name).write_bytes(b"note")
    names = ["a.jpg", "b.jpg", "c.jpg"]
    assert list_images(folder) == [str(tmp_path / name) for name in names]


def test_what_of_a_folder_is_left_out_or_unreadable_is_told(
    public_folder: Path,
    permissions: Callable[[], AbstractContextManager[None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("a.jpg", "b.jfif", "notes.txt"):
        (public_folder / name).touch()
    (public_folder / "circle").symlink_to(".")
    (public_folder / "closed").mkdir(mode=0)
    told: list[str] = []
    with permissions():
        found = list_images(public_folder, on_unreadable=told.append)
    assert found == [str(public_folder / name) for name in ("a.jpg", "b.jfif")]
    assert told == [f"{public_folder / 'closed'} cannot be read: Permission denied"]
    assert "1 x not named as an image (notes.txt)" in caplog.text


MANY, LONG = 8_000_000, "a" * 1_000_000


def repeated(text: str, rows: int) -> pyarrow.Table:
    """A column that Parquet writes in some kilobytes: the text once, and how often it comes."""
    return pyarrow.table(
        {"path": pyarrow.DictionaryArray.from_arrays(np.zeros(rows, np.int32), [text])}
    )


@pytest.mark.parametrize(("text", "rows"), [("a.jpg", MANY), (LONG, 100_000), ("a.jpg", 2_000_001)])
def test_a_small_file_does_not_become_a_list_without_end(
    text: str, rows: int, tmp_path: Path
) -> None:
    parquet.write_table(repeated(text, rows), tmp_path / "list.parquet")
    assert (tmp_path / "list.parquet").stat().st_size < 200_000
    before = pyarrow.default_memory_pool().max_memory()
    with pytest.raises(
        DatasetError,
        match=r"names more than 2,000,000 images, or holds more .*; cut it into several",
    ):
        list_images(tmp_path / "list.parquet")
    assert pyarrow.default_memory_pool().max_memory() - before < 50_000_000


def test_the_files_of_a_folder_count_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "MAX_BYTES", 1_000_000)
    folder = tmp_path / "list.parquet"
    folder.mkdir()
    for name in ("a.parquet", "b.parquet"):
        parquet.write_table(repeated("a" * 300, 2_000), folder / name)
    with pytest.raises(DatasetError, match=r"b\.parquet names more than"):
        list_images(folder)


def test_lines_without_end_are_refused_before_they_are_cut(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"\n" * 2_000_001)
    with pytest.raises(DatasetError, match="names more than 2,000,000 images"):
        list_images(tmp_path / "list.txt")
    with (tmp_path / "list.txt").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(FileError, match="more than the 536,870,912 allowed"):
        list_images(tmp_path / "list.txt")


def test_a_pipe_with_the_name_of_a_list_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "list.parquet")
    with pytest.raises(FileError, match="is not a regular file"):
        list_images(tmp_path / "list.parquet")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_list_may_begin_with_a_byte_order_mark(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a.jpg\r\né.jpg\r\n", encoding=encoding)
    names = [Path(path).name for path in list_images(tmp_path / "list.txt")]
    assert names == ["a.jpg", "é.jpg"]


def test_the_same_path_twice_is_two_images() -> None:
    assert list_images(["/a.jpg", "/a.jpg"]) == ["/a.jpg", "/a.jpg"]


def test_what_is_no_list_of_images_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    (tmp_path / "latin.txt").write_bytes(b"\xe9.jpg")
    (tmp_path / "text.parquet").write_text("text")
    (tmp_path / "list.csv").touch()
    parquet.write_table(pyarrow.table({"file": ["/b.jpg"]}), tmp_path / "other.parquet")
    parquet.write_table(pyarrow.table({"path": ["/b.jpg", None]}), tmp_path / "null.parquet")
    parquet.write_table(pyarrow.table({"path": [1, 2]}), tmp_path / "numbers.parquet")
    parquet.write_table(pyarrow.table({"path": [b"\xff"]}), tmp_path / "bytes.parquet")
    for name, message in (
        ("empty.txt", "names no image"),
        ("latin.txt", "not UTF-8 at byte 0"),
        ("text.parquet", "has no column 'path' of paths"),
        ("other.parquet", "has no column 'path' of paths"),
        ("null.parquet", "has rows without a path"),
        ("numbers.parquet", "has a column 'path' of int64, not of paths"),
        ("bytes.parquet", "has no column 'path' of paths: Invalid UTF8"),
        ("list.csv", "is not a folder, a .txt file"),
    ):
        with pytest.raises(DatasetError, match=message) as caught:
            list_images(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_list_of_another_system_is_read(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes("\ufeffa.jpg\r\nfaces\\b.jpg\r\n".encode())
    assert list_images(tmp_path / "list.txt") == [
        str(tmp_path / "a.jpg"),
        str(tmp_path / "faces" / "b.jpg"),
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (r"D:\faces\a.jpg", "which is on another machine; make the paths in the list relative"),
        ("/mnt/gone/a.jpg", "names /mnt/gone/a.jpg, which this machine does not have; make"),
    ],
)
def test_paths_of_another_machine_are_said(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "list.txt").write_text(f"a.jpg\n{name}\n")
    with pytest.raises(DatasetError, match=message):
        list_images(tmp_path / "list.txt")


def test_a_folder_is_walked_as_by_every_command(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a/1.jfif", "a/2.HEIC", "__MACOSX/3.jpg", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    assert list_images(tmp_path) == [str(tmp_path / "a" / name) for name in ("1.jfif", "2.HEIC")]
    assert caplog.messages == [
        f"{tmp_path}: left out 1 x folder that is read under another name (a/up), "
        "1 x not named as an image (a/notes.txt), 1 x hidden or of the system"
    ]


def test_a_folder_of_lists_that_cannot_be_read_as_a_whole_is_refused(
    public_folder: Path, permissions: Callable[[], AbstractContextManager[None]]
) -> None:
    closed = public_folder / "list.parquet" / "c"
    closed.mkdir(parents=True, mode=0)
    with (
        permissions(),
        pytest.raises(FileError, match=r"cannot be read as a whole: 1 x .*Permission den"),
    ):
        list_images(public_folder / "list.parquet")
    with pytest.raises(FileError, match="File name too long"):
        list_images(public_folder / ("a" * 300))

"""What of a folder that is replaced stays: everything that is not of those who replace it."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from motivnet import carry_over, files
from motivnet.errors import FileError
from motivnet.files import atomic_folder

Tree = Callable[[Path], dict[str, str]]

OWN = {"model", "part/data"}


def own(_: Path) -> set[str]:
    return OWN


def fill(folder: Path, text: str) -> None:
    (folder / "part").mkdir(exist_ok=True)
    for name in OWN:
        (folder / name).write_text(text)


def update(folder: Path, text: str = "new") -> None:
    with atomic_folder(folder, own=own, others="keep") as temporary:
        fill(temporary, text)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder with files of its own, and with everything that a user may keep in it."""
    folder = tmp_path / "out"
    folder.mkdir()
    fill(folder, "old")
    (folder / "notes.txt").write_text("notes")
    (folder / "part" / "notes").write_text("inside")
    (folder / "photos" / "2026").mkdir(parents=True)
    (folder / "photos" / "2026" / "a.jpg").write_text("photo")
    (folder / "empty").mkdir(mode=0o750)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").write_text("years")
    (folder / "thesis").symlink_to("../thesis")
    (folder / "nowhere").symlink_to("gone")
    os.mkfifo(folder / "fifo")
    return folder


def write_late(folder: Path) -> None:
    with atomic_folder(folder, own=own) as temporary:
        fill(temporary, "new")
        (folder / "part" / "late").write_text("late")


def update_notes(folder: Path) -> None:
    with atomic_folder(folder, own=own, others="keep") as temporary:
        fill(temporary, "new")
        (temporary / "notes.txt").write_text("ours")


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def refuse_hard_links(*_: object, **__: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("links", [True, False])
def test_what_is_not_ours_stays_as_it_is(
    links: bool, exchange: bool, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        (old / "fifo").unlink()
        monkeypatch.setattr(carry_over.os, "link", refuse_hard_links)
    if not exchange:
        monkeypatch.setattr(files, "_exchange", lambda first, second: False)
    before, inode = names(old), (old / "photos" / "2026" / "a.jpg").stat().st_ino
    os.utime(old / "photos", (1_000, 1_000))
    update(old)
    assert names(old) == before
    assert {(old / name).read_text() for name in OWN} == {"new"}
    assert (old / "notes.txt").read_text() == "notes"
    assert (old / "part" / "notes").read_text() == "inside"
    assert (old / "photos").stat().st_mtime == 1_000
    assert (old / "empty").stat().st_mode & 0o777 == 0o750
    assert ((old / "photos" / "2026" / "a.jpg").stat().st_ino == inode) == links
    assert sorted(os.listdir(old.parent)) == ["out", "thesis"]


def test_a_link_is_kept_as_a_link_and_nothing_behind_it_is_touched(old: Path) -> None:
    for _ in range(2):
        update(old)
    assert os.readlink(old / "thesis") == "../thesis"
    assert os.readlink(old / "nowhere") == "gone"
    assert (old.parent / "thesis" / "chapter").read_text() == "years"


def test_what_is_not_ours_is_named_and_nothing_is_written(old: Path) -> None:
    before = names(old)
    with (
        pytest.raises(
            FileError,
            match=r"out holds other files too: empty, fifo, notes\.txt and 3 more; move them away, or choose",
        ),
        atomic_folder(old, own=own),
    ):
        pytest.fail("the block must not run")
    assert names(old) == before


def test_what_comes_while_the_folder_is_made_is_refused_too(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    fill(folder, "old")
    with pytest.raises(FileError, match=r"part/late; move them away"):
        write_late(folder)
    assert (folder / "model").read_text() == "old"
    assert (folder / "part" / "late").read_text() == "late"


def test_a_users_file_with_the_name_of_a_new_one_is_not_written_over(old: Path) -> None:
    before = names(old)
    with pytest.raises(
        FileError, match=r"notes\.txt is in the way of a file of that name; move it away"
    ):
        update_notes(old)
    assert names(old) == before
    assert (old / "notes.txt").read_text() == "notes"
    assert (old / "model").read_text() == "old"


def edit_by_rename(folder: Path) -> None:
    """As most editors save: a new file takes the place of the old one."""
    (folder / "draft").write_text("edited")
    (folder / "draft").replace(folder / "notes.txt")


def edit_in_place(folder: Path) -> None:
    (folder / "notes.txt").write_text("edited")


@pytest.mark.parametrize("edit", [edit_by_rename, edit_in_place])
def test_what_is_written_in_the_last_moment_comes_along(
    edit: Callable[[Path], None], old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = files._put_in_place

    def edit_first(temporary: Path, path: Path) -> Path | None:
        edit(path)
        (path / "new folder").mkdir()
        (path / "new folder" / "late").write_text("late")
        return real(temporary, path)

    monkeypatch.setattr(files, "_put_in_place", edit_first)
    before = names(old)
    update(old)
    assert names(old) == before | {"new folder", "new folder/late"}
    assert (old / "notes.txt").read_text() == "edited"
    assert (old / "model").read_text() == "new"


def test_an_open_file_of_another_program_stays_the_same_file(old: Path) -> None:
    with (old / "log").open("w") as log:
        update(old)
        log.write("after")
    assert (old / "log").read_text() == "after"


def test_what_cannot_be_kept_ends_the_work_before_anything_is_replaced(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry_over.os, "link", refuse_hard_links)
    before = names(old)
    with pytest.raises(
        FileError, match="fifo is neither a file nor a link and cannot be kept; move it away"
    ):
        update(old)
    assert names(old) == before
    assert (old / "model").read_text() == "old"


def test_another_file_system_is_told_of_and_left_alone(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cross(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(carry_over.os, "link", cross)
    with pytest.raises(
        FileError, match="is on another file system than its folder; move or unmount it"
    ):
        update(old)
    assert (old / "model").read_text() == "old"


def make_half_written(folder: Path) -> Path:
    """What a killed writer of one file in the folder leaves."""
    leftover = folder / ".model.0123abcd.partial"
    leftover.mkdir()
    (leftover / ".motivnet-lock").touch()
    (leftover / "model").write_text("half")
    return leftover


def test_what_a_killed_writer_left_in_the_folder_is_no_file_of_the_user(
    tmp_path: Path, tree: Tree
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    fill(folder, "old")
    make_half_written(folder)
    with atomic_folder(folder, own=own) as temporary:
        fill(temporary, "new")
    assert set(tree(folder)) == {"model", "part", "part/data"}


def make_users_folder(path: Path) -> None:
    path.mkdir()
    (path / "work").write_text("work")


def make_link_to_users_folder(path: Path) -> None:
    make_users_folder(path.with_name("mine"))
    path.symlink_to("mine")


def make_link_to_leftover(path: Path) -> None:
    make_users_folder(path.with_name("mine"))
    (path.with_name("mine") / ".motivnet-lock").touch()
    path.symlink_to("mine")


def make_file(path: Path) -> None:
    path.write_text("work")


def make_folder_with_a_link_for_a_lock(path: Path) -> None:
    make_users_folder(path)
    (path / ".motivnet-lock").symlink_to("work")


@pytest.mark.parametrize(
    "make",
    [
        make_users_folder,
        make_link_to_users_folder,
        make_link_to_leftover,
        make_file,
        make_folder_with_a_link_for_a_lock,
    ],
)
def test_a_users_folder_with_the_name_of_a_leftover_is_not_swept(
    make: Callable[[Path], Any], tmp_path: Path, tree: Tree
) -> None:
    make(tmp_path / ".out.deadbeef.partial")
    before = tree(tmp_path)
    files.write_atomic(tmp_path / "out", b"new")
    assert tree(tmp_path) == {**before, "out": "new"}


def test_the_old_folder_of_a_writer_that_died_between_its_moves_outlives_a_new_one(
    tmp_path: Path,
) -> None:
    leftover = tmp_path / ".out.0123abcd.partial"
    for name in (".replaced", "out"):
        (leftover / name).mkdir(parents=True)
    (leftover / ".motivnet-lock").touch()
    (leftover / ".replaced" / "notes").write_text("notes")
    (tmp_path / "out").mkdir()
    with atomic_folder(tmp_path / "out", own=own) as temporary:
        fill(temporary, "new")
    assert (tmp_path / "out" / "model").read_text() == "new"
    assert (leftover / ".replaced" / "notes").read_text() == "notes"
    shutil.rmtree(tmp_path / "out")
    with (
        pytest.raises(FileError, match="out holds other files too: notes"),
        atomic_folder(tmp_path / "out", own=own),
    ):
        pytest.fail("the block must not run")
    assert (tmp_path / "out" / "notes").read_text() == "notes"

"""Folders: replaced whole or not at all, with what others have put into them."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from motivnet import folders
from motivnet.errors import FileError
from motivnet.files import write_atomic
from motivnet.folders import atomic_folder

Tree = Callable[[Path], dict[str, str]]


def everything(folder: Path) -> list[str]:
    """Every file may go."""
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()]


def nothing(folder: Path) -> list[str]:
    raise FileError(f"{folder} holds files that are not an artifact; choose another output folder")


def make_dangling_link(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


def fill(path: Path, text: str, *, own: Callable[[Path], list[str]] = everything) -> None:
    with atomic_folder(path, own=own) as temporary:
        (temporary / text).write_text(text)


def without_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that has no ``RENAME_EXCHANGE``."""
    monkeypatch.setattr(folders, "_exchange", lambda first, second: False)


def test_a_new_folder_appears_with_its_parents_and_nothing_beside_it(
    tmp_path: Path, tree: Tree
) -> None:
    fill(tmp_path / "a" / "out", "new")
    assert tree(tmp_path) == {"a": "folder", "a/out": "folder", "a/out/new": "new"}


@pytest.mark.parametrize("exchange", [True, False])
def test_a_folder_is_replaced_as_a_whole(
    exchange: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tree: Tree
) -> None:
    if not exchange:
        without_exchange(monkeypatch)
    for text in ("first", "second", "third"):
        fill(tmp_path / "out", text)
        assert tree(tmp_path) == {"out": "folder", f"out/{text}": text}


def test_the_exchange_is_one_step_on_this_file_system(tmp_path: Path, tree: Tree) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not folders._exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("needs a file system with RENAME_EXCHANGE")
    assert set(tree(tmp_path)) == {"a", "b", "a/b", "b/a"}


def test_an_exchange_that_is_refused_is_not_taken_for_one_that_does_not_exist(
    tmp_path: Path,
) -> None:
    with pytest.raises(FileNotFoundError):
        folders._exchange(tmp_path / "a", tmp_path / "b")


def test_an_empty_folder_is_replaced_without_asking(tmp_path: Path, tree: Tree) -> None:
    (tmp_path / "out").mkdir()
    fill(tmp_path / "out", "new", own=nothing)
    assert tree(tmp_path) == {"out": "folder", "out/new": "new"}


def make_foreign(path: Path) -> None:
    path.mkdir()
    (path / "thesis.tex").write_text("years of work")


def make_link_to_folder(path: Path) -> None:
    path.with_name("elsewhere").mkdir()
    path.symlink_to("elsewhere")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (make_foreign, "out holds files that are not an artifact; choose another output folder"),
        (lambda path: path.write_text("file"), "out is a file; choose another output folder"),
        (make_link_to_folder, "out is a symbolic link; give the folder that it points to"),
        (make_dangling_link, "out is a symbolic link; give the folder that it points to"),
    ],
)
def test_what_is_in_the_way_is_refused_before_anything_is_written(
    make: Callable[[Path], Any], reason: str, tmp_path: Path, tree: Tree
) -> None:
    make(tmp_path / "out")
    before = tree(tmp_path)
    with pytest.raises(FileError, match=reason), atomic_folder(tmp_path / "out", own=nothing):
        pytest.fail("the block must not run")
    assert tree(tmp_path) == before


def test_what_comes_in_the_way_while_the_folder_is_made_is_kept(tmp_path: Path, tree: Tree) -> None:
    with (
        pytest.raises(FileError, match="holds files that are not an artifact"),
        atomic_folder(tmp_path / "out", own=nothing),
    ):
        make_foreign(tmp_path / "out")
    assert tree(tmp_path) == {"out": "folder", "out/thesis.tex": "years of work"}


def test_an_error_of_the_question_is_not_an_error_of_writing(tmp_path: Path) -> None:
    def ask(_: Path) -> list[str]:
        raise FileNotFoundError("a bug in the question")

    make_foreign(tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="a bug in the question"):
        fill(tmp_path / "out", "new", own=ask)


def fill_half(path: Path, error: BaseException) -> None:
    with atomic_folder(path, own=everything) as temporary:
        (temporary / "half").write_text("half")
        raise error


@pytest.mark.parametrize("error", [ZeroDivisionError(), KeyboardInterrupt(), FileError("x")])
def test_after_an_error_the_old_folder_is_whole_and_nothing_is_left(
    error: BaseException, tmp_path: Path, tree: Tree
) -> None:
    fill(tmp_path / "out", "old")
    with pytest.raises(type(error)):
        fill_half(tmp_path / "out", error)
    assert tree(tmp_path) == {"out": "folder", "out/old": "old"}


def test_a_second_move_that_fails_puts_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tree: Tree
) -> None:
    without_exchange(monkeypatch)
    fill(tmp_path / "out", "old")
    real = Path.rename

    def refuse_the_new(self: Path, target: Path) -> Path:
        if self.name == "out" and target == tmp_path / "out":
            raise OSError(errno.EIO, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", refuse_the_new)
    with pytest.raises(FileError, match="out cannot be written: Input/output error"):
        fill(tmp_path / "out", "new")
    assert tree(tmp_path) == {"out": "folder", "out/old": "old"}


def test_the_working_directory_may_change_while_the_folder_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tree: Tree
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    with atomic_folder(Path("out"), own=everything) as temporary:
        monkeypatch.chdir(tmp_path / "other")
        (temporary / "new").write_text("new")
    assert tree(tmp_path) == {"other": "folder", "out": "folder", "out/new": "new"}


def test_files_are_synced_before_the_rename_and_the_folder_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    real_sync, real_put, real_entry = folders.sync, folders._put_in_place, folders.sync_entry

    def sync(path: Path) -> None:
        steps.append(f"sync {path.name}")
        real_sync(path)

    def put(temporary: Path, path: Path) -> None:
        steps.append("rename")
        real_put(temporary, path)

    def sync_entry(path: Path) -> None:
        steps.append(f"sync {path.parent.name}")
        real_entry(path)

    monkeypatch.setattr(folders, "sync", sync)
    monkeypatch.setattr(folders, "sync_entry", sync_entry)
    monkeypatch.setattr(folders, "_put_in_place", put)
    with atomic_folder(tmp_path / "out", own=everything) as temporary:
        (temporary / "file").write_text("x")
        os.mkfifo(temporary / "fifo")
        (temporary / "link").symlink_to("nowhere")
    assert steps == ["sync file", "sync out", "rename", f"sync {tmp_path.name}"]


def test_a_refusal_to_open_a_file_of_the_target_is_about_the_target(tmp_path: Path) -> None:
    with (
        pytest.raises(FileError, match="target was not written: File name too long"),
        atomic_folder(tmp_path / "target", own=everything) as temporary,
    ):
        (temporary / ("x" * 300)).write_text("x")


OWN = {"model", "part/data"}


def own(_: Path) -> set[str]:
    return OWN


def fill_own(folder: Path, text: str) -> None:
    (folder / "part").mkdir(exist_ok=True)
    for name in OWN:
        (folder / name).write_text(text)


def update(folder: Path, text: str = "new") -> None:
    with atomic_folder(folder, own=own, others="keep") as temporary:
        fill_own(temporary, text)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder with files of its own, and with everything that a user may keep in it."""
    folder = tmp_path / "out"
    folder.mkdir()
    fill_own(folder, "old")
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
        fill_own(temporary, "new")
        (folder / "part" / "late").write_text("late")


def update_notes(folder: Path) -> None:
    with atomic_folder(folder, own=own, others="keep") as temporary:
        fill_own(temporary, "new")
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
        monkeypatch.setattr(folders.os, "link", refuse_hard_links)
    if not exchange:
        monkeypatch.setattr(folders, "_exchange", lambda first, second: False)
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
            match=r"out holds other files too: empty, fifo, notes\.txt and 3 more; move them away",
        ),
        atomic_folder(old, own=own),
    ):
        pytest.fail("the block must not run")
    assert names(old) == before


def test_what_comes_while_the_folder_is_made_is_refused_too(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    fill_own(folder, "old")
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
    real = folders._put_in_place

    def edit_first(temporary: Path, path: Path) -> Path | None:
        edit(path)
        (path / "new folder").mkdir()
        (path / "new folder" / "late").write_text("late")
        return real(temporary, path)

    monkeypatch.setattr(folders, "_put_in_place", edit_first)
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
    monkeypatch.setattr(folders.os, "link", refuse_hard_links)
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

    monkeypatch.setattr(folders.os, "link", cross)
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
    fill_own(folder, "old")
    make_half_written(folder)
    with atomic_folder(folder, own=own) as temporary:
        fill_own(temporary, "new")
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
    write_atomic(tmp_path / "out", b"new")
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
        fill_own(temporary, "new")
    assert (tmp_path / "out" / "model").read_text() == "new"
    assert (leftover / ".replaced" / "notes").read_text() == "notes"
    shutil.rmtree(tmp_path / "out")
    with (
        pytest.raises(FileError, match="out holds other files too: notes"),
        atomic_folder(tmp_path / "out", own=own),
    ):
        pytest.fail("the block must not run")
    assert (tmp_path / "out" / "notes").read_text() == "notes"

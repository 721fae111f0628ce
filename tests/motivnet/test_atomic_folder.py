"""Writing a folder: it is replaced as a whole, and only where that is allowed."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from motivnet import files
from motivnet.errors import FileError
from motivnet.files import atomic_folder

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
    monkeypatch.setattr(files, "_exchange", lambda first, second: False)


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
    if not files._exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("needs a file system with RENAME_EXCHANGE")
    assert set(tree(tmp_path)) == {"a", "b", "a/b", "b/a"}


def test_an_exchange_that_is_refused_is_not_taken_for_one_that_does_not_exist(
    tmp_path: Path,
) -> None:
    with pytest.raises(FileNotFoundError):
        files._exchange(tmp_path / "a", tmp_path / "b")


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
    real_sync, real_put = files._sync, files._put_in_place

    def sync(path: Path) -> None:
        steps.append(f"sync {path.name}")
        real_sync(path)

    def put(temporary: Path, path: Path) -> None:
        steps.append("rename")
        real_put(temporary, path)

    monkeypatch.setattr(files, "_sync", sync)
    monkeypatch.setattr(files, "_put_in_place", put)
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

"""Writing one file: it appears whole or not at all, and errors are told as what they are."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from motivnet import files
from motivnet.errors import FileError
from motivnet.files import atomic_folder, atomic_path, write_atomic

Tree = Callable[[Path], dict[str, str]]


def everything(folder: Path) -> list[str]:
    """Every file may go."""
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()]


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def test_a_file_appears_with_its_folders_and_nothing_beside_it(tmp_path: Path, tree: Tree) -> None:
    path = tmp_path / "a" / "b" / "file.bin"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert tree(tmp_path) == {"a": "folder", "a/b": "folder", "a/b/file.bin": "two"}


def test_until_the_block_ends_the_old_file_is_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
        assert temporary.name == path.name, (
            "a library that looks at the suffix must see the right one"
        )
    assert path.read_bytes() == b"new"


def write_half(path: Path, error: BaseException) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"new")
        temporary.with_name("a library's own").write_bytes(b"half")
        raise error


@pytest.mark.parametrize(
    "error", [ZeroDivisionError(), KeyboardInterrupt(), FileError("x"), SystemExit(3)]
)
def test_after_an_error_the_old_file_is_untouched_and_nothing_is_left(
    error: BaseException, tmp_path: Path, tree: Tree
) -> None:
    write_atomic(tmp_path / "file", b"old")
    with pytest.raises(type(error)):
        write_half(tmp_path / "file", error)
    assert tree(tmp_path) == {"file": "old"}


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_mode_is_that_of_the_umask_even_if_a_library_made_it_private(
    mask: int, mode: int, tmp_path: Path
) -> None:
    with umask(mask):
        with atomic_path(tmp_path / "file") as temporary:
            temporary.touch(mode=0o600)
        with atomic_folder(tmp_path / "folder", own=everything) as folder:
            (folder / "inside").touch()
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o777 & ~mask
    assert stat.S_IMODE((tmp_path / "folder" / "inside").stat().st_mode) == mode


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mask", [0, 0o022, 0o002])
def test_a_private_file_is_this_users_from_its_first_byte(mask: int, tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "file"
    with umask(mask):
        with atomic_path(path, private=True) as temporary:
            temporary.write_bytes(b"secret")
            assert mode_of(temporary.parent) == 0o700, "nobody else can reach what is being written"
        path.chmod(0o666)
        write_atomic(path, b"secret", private=True)
    assert mode_of(path) == 0o600
    assert [mode_of(folder) for folder in (path.parent, path.parent.parent)] == [0o700, 0o700]


def test_a_folder_that_was_there_keeps_its_mode_when_a_private_file_comes_into_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o755)
    write_atomic(tmp_path / "shared" / "file", b"secret", private=True)
    assert mode_of(tmp_path / "shared") == 0o755


def test_a_directory_is_not_written_over(tmp_path: Path) -> None:
    with (
        pytest.raises(FileError, match="is a directory; give the name of a file"),
        atomic_path(tmp_path),
    ):
        pytest.fail("the block must not run")


def test_a_link_is_replaced_and_not_followed(tmp_path: Path, tree: Tree) -> None:
    (tmp_path / "target").write_text("mine")
    (tmp_path / "link").symlink_to("target")
    write_atomic(tmp_path / "link", b"new")
    assert tree(tmp_path) == {"link": "new", "target": "mine"}
    assert not (tmp_path / "link").is_symlink()


def test_the_last_of_two_writers_at_the_same_time_stays_and_is_whole(
    tmp_path: Path, tree: Tree
) -> None:
    path = tmp_path / "file"
    with atomic_path(path) as first:
        first.write_bytes(b"first")
        with atomic_path(path) as second:
            second.write_bytes(b"second")
        assert path.read_bytes() == b"second"
        assert first.exists()
    assert tree(tmp_path) == {"file": "first"}


def test_what_a_killed_writer_left_goes_with_the_next_write_and_no_other_writers_does(
    tmp_path: Path,
) -> None:
    dead, other = tmp_path / ".file.0123abcd.partial", tmp_path / ".file.v2.0123abcd.partial"
    for folder in (dead, other):
        folder.mkdir()
        (folder / "file").write_text("half")
    (dead / ".motivnet-lock").touch()
    with atomic_path(tmp_path / "file") as living:
        living.write_bytes(b"first")
        write_atomic(tmp_path / "file", b"second")
        assert living.exists()
    assert sorted(os.listdir(tmp_path)) == [other.name, "file"]


def test_a_name_with_a_pattern_in_it_is_only_a_name(tmp_path: Path) -> None:
    others = [tmp_path / ".file.0123abcd.partial", tmp_path / ".f.le.ab.partial"]
    for other in others:
        other.mkdir()
    for name in ("*", "f.le", "[a-z]{4}"):
        write_atomic(tmp_path / name, b"x")
    assert all(other.exists() for other in others)


def test_a_file_beyond_the_limit_is_one_error_and_leaves_the_old_one(
    file_size_limit: int, tmp_path: Path, tree: Tree
) -> None:
    write_atomic(tmp_path / "file", b"old")
    with pytest.raises(FileError, match="file was not written: File too large"):
        write_atomic(tmp_path / "file", b"x" * (file_size_limit + 1))
    with (
        pytest.raises(FileError, match="folder was not written: File too large"),
        atomic_folder(tmp_path / "folder", own=everything) as folder,
    ):
        (folder / "file").write_bytes(b"x" * (file_size_limit + 1))
    assert tree(tmp_path) == {"file": "old"}


def test_a_full_disk_is_one_error_and_leaves_the_old_file(small_disk: Path, tree: Tree) -> None:
    write_atomic(small_disk / "file", b"old")
    with pytest.raises(FileError, match="file was not written: No space left on device"):
        write_atomic(small_disk / "file", b"x" * 2_000_000)
    with (
        pytest.raises(FileError, match="folder was not written: No space left on device"),
        atomic_folder(small_disk / "folder", own=everything) as folder,
    ):
        (folder / "file").write_bytes(b"x" * 2_000_000)
    assert tree(small_disk) == {"file": "old"}


@pytest.mark.parametrize("name", ["target", "new/target"])
@pytest.mark.parametrize("write", [atomic_path, functools.partial(atomic_folder, own=everything)])
def test_a_folder_without_permission_is_one_error(write: Any, name: str, forbidden: Path) -> None:
    with (
        pytest.raises(FileError, match="target cannot be written: Permission denied"),
        write(forbidden / name),
    ):
        pytest.fail("the block must not run")
    assert os.listdir(forbidden) == ["file"]


def read_missing(_: Path) -> None:
    Path("/nowhere/image.png").read_bytes()


def write_elsewhere(_: Path) -> None:
    Path("/proc/sys/kernel/ostype").write_bytes(b"")  # refused to everybody


def open_missing_below(temporary: Path) -> None:
    (temporary / "missing" / "file").write_bytes(b"x")


def lose_connection(_: Path) -> None:
    raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")


def would_block(_: Path) -> None:
    raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")


@pytest.mark.parametrize(
    ("fail", "reason"),
    [
        (read_missing, "No such file or directory: '/nowhere/image.png'"),
        (write_elsewhere, "ostype"),
        (open_missing_below, "No such file or directory: .*missing"),
        (lose_connection, "Connection reset by peer"),
        (would_block, "Resource temporarily unavailable"),
    ],
)
@pytest.mark.parametrize("write", [atomic_path, functools.partial(atomic_folder, own=everything)])
def test_an_error_of_the_block_about_something_else_passes_unchanged(
    write: Any, fail: Callable[[Path], None], reason: str, tmp_path: Path, tree: Tree
) -> None:
    with pytest.raises(OSError, match=reason), write(tmp_path / "target") as temporary:
        fail(temporary)
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("write", [atomic_path, functools.partial(atomic_folder, own=everything)])
def test_a_disk_that_fails_after_the_rename_is_not_told_as_nothing_written(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = files._sync

    def fail_on_the_parent(path: Path) -> None:
        if path == tmp_path:
            raise OSError(errno.EIO, "Input/output error")
        real(path)

    monkeypatch.setattr(files, "_sync", fail_on_the_parent)
    with (
        pytest.raises(
            FileError, match="was written, but the disk did not confirm it: Input/output error"
        ),
        write(tmp_path / "target") as temporary,
    ):
        (temporary / "x" if temporary.is_dir() else temporary).write_text("new")
    assert os.listdir(tmp_path) == ["target"]

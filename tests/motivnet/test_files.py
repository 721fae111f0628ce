"""Files: opened safely, hashed, and written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from motivnet import files
from motivnet.errors import FileError
from motivnet.files import atomic_path, open_regular, read_bytes, sha256_of, write_atomic
from motivnet.folders import atomic_folder

pytestmark = pytest.mark.timeout(20)


def make_dangling_link(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


def make_nothing(_: Path) -> None: ...


def make_looping_link(path: Path) -> None:
    path.symlink_to(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        folder = os.open(path.parent, os.O_RDONLY)
        listener.bind(
            f"/proc/self/fd/{folder}/{path.name}"
        )  # a socket's path has at most 107 bytes
        os.close(folder)


@pytest.mark.parametrize("follow_links", [True, False])
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (make_nothing, "does not exist"),
        (Path.mkdir, "is a directory; give a file"),
        (os.mkfifo, "is not a regular file"),
        (make_socket, "is not a regular file"),
        (make_dangling_link, "does not exist|link that is not followed"),
        (make_looping_link, "link in a loop of links|link that is not followed"),
    ],
)
def test_what_is_not_a_regular_file_is_refused_at_once(
    make: Callable[[Path], None], reason: str, follow_links: bool, tmp_path: Path
) -> None:
    make(tmp_path / "thing")
    for read in (open_regular, read_bytes):
        with pytest.raises(FileError, match=f"thing.*({reason})"):
            read(tmp_path / "thing", follow_links=follow_links)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/tty"])
def test_a_device_is_not_read(device: str) -> None:
    with pytest.raises(FileError, match="is not a regular file"):
        read_bytes(Path(device))


def test_a_null_byte_in_a_path_is_a_file_error(tmp_path: Path) -> None:
    path = tmp_path / "a\0b"
    for use in (read_bytes, sha256_of, functools.partial(write_atomic, data=b"")):
        with pytest.raises(FileError, match="null byte"):
            use(path)
    with pytest.raises(FileError, match="null byte"), atomic_folder(path, own=os.listdir):
        pytest.fail("the block must not run")


def test_a_path_below_a_file_or_too_long_is_a_file_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileError, match="Not a directory"):
        read_bytes(tmp_path / "file" / "below")
    with pytest.raises(FileError, match="name too long"):
        read_bytes(tmp_path / ("x" * 300))


def test_a_link_is_followed_only_where_that_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_bytes(tmp_path / "link") == b"content"
    with pytest.raises(FileError, match="is a symbolic link that is not followed"):
        read_bytes(tmp_path / "link", follow_links=False)


def test_the_size_is_limited_to_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1_000)
    assert len(read_bytes(path, max_bytes=1_000)) == 1_000
    with pytest.raises(FileError, match="has 1,000 bytes, more than the 999 allowed"):
        read_bytes(path, max_bytes=999)


def test_a_file_that_grows_while_it_is_read_is_not_read_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "file", os.fstat
    path.write_bytes(b"x" * 10)

    def look_before_it_grows(descriptor: int) -> os.stat_result:
        status = real(descriptor)
        with path.open("ab") as file:
            file.write(b"more")
        return status

    monkeypatch.setattr(files.os, "fstat", look_before_it_grows)
    with pytest.raises(FileError, match="changed while it was read"):
        read_bytes(path)


def test_a_file_without_permission_is_a_file_error(forbidden: Path) -> None:
    with pytest.raises(FileError, match="file cannot be opened: Permission denied"):
        read_bytes(forbidden / "file")


def test_a_digest_is_that_of_the_bytes_and_every_chunk_is_counted(tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000
    (tmp_path / "file").write_bytes(data)
    (tmp_path / "empty").write_bytes(b"")
    heard: list[int] = []
    assert sha256_of(tmp_path / "file", on_bytes=heard.append) == hashlib.sha256(data).hexdigest()
    assert sum(heard) == len(data)
    assert len(heard) > 1
    assert sha256_of(tmp_path / "empty") == hashlib.sha256().hexdigest()


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    before = len(os.listdir("/proc/self/fd"))
    for number in range(5):
        sha256_of(tmp_path / "file")
        write_atomic(tmp_path / "file", b"y")
        with pytest.raises(FileError):
            read_bytes(tmp_path)
        with (
            contextlib.suppress(ZeroDivisionError),
            atomic_folder(tmp_path / "out", own=os.listdir),
        ):
            number // 0
    assert len(os.listdir("/proc/self/fd")) == before


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
    real = files.sync

    def fail_on_the_parent(path: Path) -> None:
        if path == tmp_path:
            raise OSError(errno.EIO, "Input/output error")
        real(path)

    monkeypatch.setattr(files, "sync", fail_on_the_parent)
    with (
        pytest.raises(
            FileError, match="was written, but the disk did not confirm it: Input/output error"
        ),
        write(tmp_path / "target") as temporary,
    ):
        (temporary / "x" if temporary.is_dir() else temporary).write_text("new")
    assert os.listdir(tmp_path) == ["target"]

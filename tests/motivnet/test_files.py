"""Opening and hashing: devices, links, limits and files that change."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from motivnet import files
from motivnet.errors import FileError
from motivnet.files import atomic_folder, open_regular, read_bytes, sha256_of, write_atomic

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
        (make_looping_link, "link that is not followed"),
    ],
)
def test_what_is_not_a_regular_file_is_refused_at_once(
    make: Callable[[Path], None], reason: str, follow_links: bool, tmp_path: Path
) -> None:
    make(tmp_path / "thing")
    for read in (open_regular, read_bytes, sha256_of):
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

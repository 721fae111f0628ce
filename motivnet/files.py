"""The only file primitives: files are opened safely, hashed, and appear whole or not at all."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from motivnet.errors import FileError

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_CHUNK = 1 << 20
_MAX_BYTES = 1 << 40


def open_regular(path: Path, *, max_bytes: int = _MAX_BYTES, follow_links: bool = True) -> BinaryIO:
    """An open binary file that is certainly a regular file of at most ``max_bytes`` bytes.

    The checks are made on the opened descriptor, so that what was checked is what is read; a FIFO or a
    device does not block.

    Raises:
        FileError: If it is missing, a directory, a link where ``follow_links`` is off, or too large.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow_links else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise FileError(_reason(path, error)) from error
    try:
        _check_regular(path, os.fstat(descriptor), max_bytes)
    except FileError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def read_bytes(path: Path, *, max_bytes: int = _MAX_BYTES, follow_links: bool = True) -> bytes:
    """The whole of a regular file, under the rules of ``open_regular``."""
    with open_regular(path, max_bytes=max_bytes, follow_links=follow_links) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise FileError(f"{path} grew beyond {max_bytes} bytes while it was read")
    return data


def sha256_of(path: Path, *, follow_links: bool = True, on_bytes: Callable[[int], None] | None = None) -> str:
    """Hexadecimal SHA-256 of a regular file; ``on_bytes`` hears of every chunk's length."""
    digest = hashlib.sha256()
    with open_regular(path, follow_links=follow_links) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            if on_bytes is not None:
                on_bytes(len(chunk))
    return digest.hexdigest()


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; it takes its place when the block ends well.

    The file is synced before it is renamed. After an error nothing is left and an older file is untouched.

    Raises:
        FileError: If the folder cannot be written or the disk is full.
    """
    with _write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
        os.close(descriptor)
        temporary = Path(name)
    try:
        with _write_errors(path):
            yield temporary
            os.chmod(temporary, 0o666 & ~_umask())
            _sync(temporary)
            os.replace(temporary, path)
            _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes) -> None:
    """Writes ``data`` to ``path`` whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def atomic_folder(path: Path, *, may_replace: Callable[[Path], bool]) -> Iterator[Path]:
    """A temporary folder beside ``path`` to fill; it takes its place when the block ends well.

    Two folders change places in one system call (``renameat2`` with ``RENAME_EXCHANGE``), so that a process
    killed at any moment leaves the old folder or the new one under the name. On a file system without that call
    the old folder is moved aside first, and put back by the next call if the process died in between.
    One writer at a time holds a lock, which the kernel frees when the process dies.

    Args:
        may_replace: Whether an existing, non-empty folder may be replaced; asked before anything is written.

    Raises:
        FileError: If ``path`` is in the way, is being written by another process, or cannot be written.
    """
    path = Path(os.path.abspath(path))
    with _write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        _recover(path)
        _check_replaceable(path, may_replace)
        with _write_errors(path):
            temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
        try:
            with _write_errors(path):
                yield temporary
                _commit_folder(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _commit_folder(temporary: Path, path: Path) -> None:
    os.chmod(temporary, 0o777 & ~_umask())
    for root, _, names in os.walk(temporary):
        for name in names:
            _sync(Path(root, name))
        _sync(Path(root))
    if not path.exists():
        os.rename(temporary, path)
    elif not _exchange(temporary, path):
        aside = _aside(path)
        os.rename(path, aside)
        os.rename(temporary, path)
        shutil.rmtree(aside, ignore_errors=True)
    _sync(path.parent)


def _exchange(first: Path, second: Path) -> bool:
    """Swaps two paths in one step; False where the system has no such call."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    if renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(second))


def _recover(path: Path) -> None:
    """Sweeps what a killed writer left, and puts back a folder that it had moved aside."""
    aside = _aside(path)
    if aside.exists() and not path.exists():
        os.rename(aside, path)
    for leftover in path.parent.glob(f".{path.name}.*.partial"):
        shutil.rmtree(leftover, ignore_errors=True)


def _check_replaceable(path: Path, may_replace: Callable[[Path], bool]) -> None:
    if path.is_symlink():
        raise FileError(f"{path} is a symbolic link; give the folder that it points to")
    if path.exists() and not path.is_dir():
        raise FileError(f"{path} is a file; choose another output folder")
    if path.is_dir() and any(path.iterdir()) and not may_replace(path):
        raise FileError(f"{path} holds files that are not an artifact; choose another output folder")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = path.parent / f".{path.name}.lock"
    with _write_errors(path):
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise FileError(f"{path} is being written by another process; wait for it or choose another folder") from error
    finally:
        os.close(descriptor)


def _aside(path: Path) -> Path:
    return path.parent / f".{path.name}.old"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_regular(path: Path, status: os.stat_result, max_bytes: int) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise FileError(f"{path} is a directory; give a file")
    if not stat.S_ISREG(status.st_mode):
        raise FileError(f"{path} is not a regular file")
    if status.st_size > max_bytes:
        raise FileError(f"{path} has {status.st_size:,} bytes, more than the {max_bytes:,} allowed")


def _reason(path: Path, error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return f"{path} does not exist"
    if error.errno == errno.ELOOP:
        return f"{path} is a symbolic link, which is not followed here"
    return f"{path} cannot be opened: {error.strerror}"


@contextlib.contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    """Turns the system's refusals while writing into one line; other errors pass."""
    try:
        yield
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror or error}") from error

"""File primitives: files are opened safely, hashed, and appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from motivnet.errors import FileError, FileTooLargeError
from motivnet.workspace import LOCK_NAME, workspace

_MAX_BYTES = 1 << 40
_REFUSALS = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EIO,
        errno.ENAMETOOLONG,
        errno.ENOSPC,
        errno.EPERM,
        errno.EROFS,
    }
)


def list_folder(folder: Path) -> list[Path]:
    """Return the entries of a folder in the order of their names.

    Raises:
        FileError: If it cannot be read.
    """
    with read_errors(folder):
        return sorted(folder.iterdir())


def is_refusal(error: FileError) -> bool:
    """Return whether a file is there and the system refused to open or to read it."""
    cause = error.__cause__
    missing = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)
    return isinstance(cause, OSError) and cause.errno not in missing


def open_regular(path: Path, *, max_bytes: int = _MAX_BYTES, follow_links: bool = True) -> BinaryIO:
    """Return an open binary file that is certainly a regular file of at most ``max_bytes``.

    The checks are made on the opened descriptor, so that what was checked is what is read. A FIFO
    or a device does not block.

    Raises:
        FileError: If it is missing, a directory, a link although ``follow_links`` is off, or too
            large.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    if not follow_links:
        flags |= os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:  # a ValueError is a null byte in the path
        raise FileError(_describe_refusal(path, error, follow_links=follow_links)) from error
    try:
        _check_regular(path, os.fstat(descriptor), max_bytes)
    except FileError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def read_bytes(path: Path, *, max_bytes: int = _MAX_BYTES, follow_links: bool = True) -> bytes:
    """Return the whole of a regular file, under the rules of ``open_regular``."""
    with (
        open_regular(path, max_bytes=max_bytes, follow_links=follow_links) as file,
        read_errors(path),
    ):
        # One byte more than the file had when it was opened shows that it has grown.
        expected = os.fstat(file.fileno()).st_size
        data = file.read(expected + 1)
    if len(data) != expected:
        raise FileError(f"{path} changed while it was read; try again")
    return data


def sha256_of(path: Path, *, on_bytes: Callable[[int], None] = lambda _: None) -> str:
    """Return the hexadecimal SHA-256 of a regular file.

    Args:
        on_bytes: Called with the length of each chunk.
    """
    with open_regular(path) as file, read_errors(path):
        return sha256_of_stream(file, on_chunk=lambda chunk: on_bytes(len(chunk)))


def sha256_of_stream(file: BinaryIO, *, on_chunk: Callable[[bytes], object] | None = None) -> str:
    """Return the hexadecimal SHA-256 of the rest of an open file, which Ctrl-C can interrupt.

    Args:
        on_chunk: Called with each chunk that was read.
    """
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
        if on_chunk is not None:
            on_chunk(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def atomic_path(path: Path, *, private: bool = False) -> Iterator[Path]:
    """Give a temporary path of the same name to write to; after the block it replaces ``path``.

    The file is synced before it is renamed. After an error nothing is left and an older file is
    unchanged; what a killed writer left is removed by the next call. A symbolic link is replaced,
    not followed. Of two writers at the same time the later one's file stays.

    Args:
        private: For secrets and what is about people: only this user may read the file, from its
            first byte on and whatever the umask or the older file's mode is (0600). Folders that
            are made for it are 0700.

    Raises:
        FileError: If ``path`` is a directory, its folder cannot be written or the disk is full.
            Errors of the block that are not about writing this file pass unchanged.
    """
    path = absolute_target(path)
    with contextlib.ExitStack() as stack:
        with write_errors(path):
            if path.is_dir() and not path.is_symlink():
                raise FileError(f"{path} is a directory; give the name of a file")
            make_folder(path.parent, private=private)
            folder = stack.enter_context(workspace(path, private=private))
        temporary = folder / path.name
        with block_errors(path, folder):
            yield temporary
        with write_errors(path):
            # A library may have chosen another mode; the lock file has the one of the umask.
            mode = stat.S_IMODE((folder / LOCK_NAME).stat().st_mode)
            temporary.chmod(0o600 if private else mode)
            sync(temporary)
            temporary.replace(path)
        sync_entry(path)


def write_atomic(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write ``data`` to ``path`` whole or not at all; ``private`` as in ``atomic_path``."""
    with atomic_path(path, private=private) as temporary:
        temporary.write_bytes(data)


def make_folder(path: Path, *, private: bool = False) -> None:
    """Make a folder and its missing parents, for this user alone if ``private``.

    Raises:
        OSError: If the system refuses.
    """
    if private:
        for folder in [each for each in reversed(path.parents) if not each.exists()]:
            folder.mkdir(mode=0o700, exist_ok=True)
    path.mkdir(mode=0o700 if private else 0o777, parents=True, exist_ok=True)


def is_below(path: Path | str, folder: Path | str) -> bool:
    """Return whether a path lies below a folder by its name, however many ``..`` it has.

    Links are not resolved: those in a folder were made by its owner, as in shared data sets.
    """
    whole, root = os.path.abspath(path), os.path.abspath(folder)
    return whole == root or whole.startswith(os.path.join(root, ""))


def absolute_target(path: Path) -> Path:
    """Return the absolute path, which stays valid if the working directory changes.

    Raises:
        FileError: If it holds a null byte.
    """
    if "\0" in str(path):
        raise FileError(f"{path} cannot be written: its name holds a null byte")
    return Path(os.path.abspath(path))


def sync(path: Path) -> None:
    """Wait until the disk has a file, or the names in a folder.

    Raises:
        OSError: If the system refuses.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_entry(path: Path) -> None:
    """Sync the folder that names ``path``, after it was put in place.

    Raises:
        FileError: If the system refuses; the text says that the file was written.
    """
    try:
        sync(path.parent)
    except OSError as error:
        raise FileError(
            f"{path} was written, but the disk did not confirm it: {error.strerror or error}"
        ) from error


@contextlib.contextmanager
def read_errors(path: Path) -> Iterator[None]:
    """Turn an OSError of reading a file or a folder into a FileError."""
    try:
        yield
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}") from error


@contextlib.contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn an OSError of our own writing into a FileError."""
    try:
        yield
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror or error}") from error


@contextlib.contextmanager
def block_errors(path: Path, folder: Path) -> Iterator[None]:
    """Turn the refusal to write below ``folder`` into a FileError about ``path``.

    Other errors pass. A failed write carries no file name, a failed open does; a refusal that names
    another file is not about ours.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSALS or not _is_about(error, folder):
            raise
        raise FileError(f"{path} was not written: {error.strerror}") from error


def _is_about(error: OSError, folder: Path) -> bool:
    name = error.filename
    if name is None:
        return True
    return isinstance(name, (str, bytes)) and Path(os.fsdecode(name)).is_relative_to(folder)


def _check_regular(path: Path, status: os.stat_result, max_bytes: int) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise FileError(f"{path} is a directory; give a file")
    if not stat.S_ISREG(status.st_mode):
        raise FileError(f"{path} is not a regular file")
    if status.st_size > max_bytes:
        raise FileTooLargeError(
            f"{path} has {status.st_size:,} bytes, more than the {max_bytes:,} allowed"
        )


def _describe_refusal(path: Path, error: OSError | ValueError, *, follow_links: bool) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ENOENT:
        if os.path.islink(path):  # lets no error through
            return f"{path} is a link to a file that does not exist"
        return f"{path} does not exist"
    if number == errno.ELOOP:
        problem = (
            "link in a loop of links" if follow_links else "symbolic link that is not followed"
        )
        return f"{path} is a {problem}"
    if number == errno.ENXIO:  # a socket, or a device without a driver
        return f"{path} is not a regular file"
    return f"{path} cannot be opened: {getattr(error, 'strerror', None) or error}"

"""The only file primitives: files are opened safely, hashed, and appear whole or not at all."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from motivnet.carry_over import carry_over, check_no_others, move_latecomers
from motivnet.errors import FileError
from motivnet.workspace import LOCK_NAME, REPLACED_NAME, sole_writer, workspace, workspaces_of

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_CHUNK = 1 << 20
_MAX_BYTES = 1 << 40
_PRIVATE = 0o600
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


def open_regular(path: Path, *, max_bytes: int = _MAX_BYTES, follow_links: bool = True) -> BinaryIO:
    """An open binary file that is certainly a regular file of at most ``max_bytes`` bytes.

    The checks are made on the opened descriptor, so that what was checked is what is read; a FIFO
    or a device does not block.

    Raises:
        FileError: If it is missing, a directory, a link where ``follow_links`` is off, or too
        large.
    """
    flags = (
        os.O_RDONLY
        | os.O_NONBLOCK
        | os.O_CLOEXEC
        | os.O_NOCTTY
        | (0 if follow_links else os.O_NOFOLLOW)
    )
    try:
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:  # a ValueError is a null byte in the path
        raise FileError(_reason(path, error)) from error
    try:
        _check_regular(path, os.fstat(descriptor), max_bytes)
    except FileError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def read_bytes(path: Path, *, max_bytes: int = _MAX_BYTES, follow_links: bool = True) -> bytes:
    """The whole of a regular file, under the rules of ``open_regular``."""
    with (
        open_regular(path, max_bytes=max_bytes, follow_links=follow_links) as file,
        _read_errors(path),
    ):
        # One byte more than the file had when it was opened tells that it has grown, and allocates
        # no more.
        expected = os.fstat(file.fileno()).st_size
        data = file.read(expected + 1)
    if len(data) != expected:
        raise FileError(f"{path} changed while it was read; try again")
    return data


def sha256_of(
    path: Path, *, follow_links: bool = True, on_bytes: Callable[[int], None] | None = None
) -> str:
    """Hexadecimal SHA-256 of a regular file; ``on_bytes`` hears of every chunk's length."""
    with open_regular(path, follow_links=follow_links) as file, _read_errors(path):
        return sha256_of_stream(
            file, on_chunk=lambda chunk: on_bytes(len(chunk)) if on_bytes else None
        )


def sha256_of_stream(file: BinaryIO, *, on_chunk: Callable[[bytes], object] | None = None) -> str:
    """Hexadecimal SHA-256 of what is left of an open file; ``on_chunk`` gets what was read, piece
    by piece.

    Ctrl-C is heard between two pieces.
    """
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
        if on_chunk is not None:
            on_chunk(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def atomic_path(path: Path, *, private: bool = False) -> Iterator[Path]:
    """A temporary path of the same name, to write to; the file takes the place of ``path`` when the
    block ends well.

    The file is synced before it is renamed. After an error nothing is left and an older file is
    untouched; what a killed writer left goes with the next call. A symbolic link is replaced, not
    followed. Two writers at the same time do not mix: the later one's file stays.

    Args:
        private: For what tells of people or is a secret: nobody but this user may read the file,
            from its first byte on and whatever the umask or the older file's mode is (0600);
            folders that are made for it are 0700.

    Raises:
        FileError: If ``path`` is a directory, its folder cannot be written or the disk is full.
            Errors of the block that are not about writing this file pass unchanged.
    """
    path = _target(path)
    with contextlib.ExitStack() as stack:
        with _write_errors(path):
            _check_no_directory(path)
            make_folder(path.parent, private=private)
            folder = stack.enter_context(workspace(path, private=private))
        temporary = folder / path.name
        with _block_errors(path, folder):
            yield temporary
        with _write_errors(path):
            # A library may have chosen a mode of its own; the lock file has the one that the umask
            # gives.
            temporary.chmod(
                _PRIVATE if private else stat.S_IMODE((folder / LOCK_NAME).stat().st_mode)
            )
            _sync(temporary)
            temporary.replace(path)
        _sync_committed(path)


def write_atomic(path: Path, data: bytes, *, private: bool = False) -> None:
    """Writes ``data`` to ``path`` whole or not at all; ``private`` as in ``atomic_path``."""
    with atomic_path(path, private=private) as temporary:
        temporary.write_bytes(data)


def make_folder(path: Path, *, private: bool = False) -> None:
    """Makes a folder and those above it that are missing, for this user alone if ``private``; one
    that exists stays.

    Raises:
        OSError: If the system refuses.
    """
    if private:
        for folder in [each for each in reversed(path.parents) if not each.exists()]:
            folder.mkdir(mode=0o700, exist_ok=True)
    path.mkdir(mode=0o700 if private else 0o777, parents=True, exist_ok=True)


@contextlib.contextmanager
def atomic_folder(
    path: Path,
    *,
    own: Callable[[Path], Collection[str]],
    others: Literal["refuse", "keep"] = "refuse",
) -> Iterator[Path]:
    """A temporary folder of the same name, to fill; it takes the place of ``path`` when the block
    ends well.

    Two folders change places in one system call (``renameat2`` with ``RENAME_EXCHANGE``), so that a
    process killed at any moment leaves the old folder or the new one under the name. On a file
    system without that call the old folder is moved aside first, and put back by the next call if
    the process died in between. One writer at a time holds a lock, which the kernel frees when the
    process dies.

    Of an existing folder only the files that ``own`` names are ever removed.

    Args:
        own: Names the files of an existing, non-empty folder that may go, as paths below it with
            ``/`` in them; raises ``FileError`` if it is not a folder to replace. Asked before
            anything is written, and again before the folder is replaced, because another may have
            appeared meanwhile.
        others: What becomes of everything else in it: ``refuse`` raises, ``keep`` gives it the same
            place in the new folder.

    Raises:
        FileError: If ``path`` is in the way or holds files of others, is being written by another
            process, or cannot be written. Errors of the block that are not about writing this
            folder pass unchanged.
    """
    path = _target(path)
    with contextlib.ExitStack() as stack:
        with _write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not stack.enter_context(sole_writer(path)):
                raise FileError(
                    f"{path} is being written by another process; wait for it or choose another folder"
                )
            _recover(path)
        _replaceable(path, own, others)
        with _write_errors(path):
            folder = stack.enter_context(workspace(path))
            temporary = folder / path.name
            temporary.mkdir()
        with _block_errors(path, folder):
            yield temporary
        with _write_errors(path):
            _sync_tree(temporary)
        files = _replaceable(path, own, others)
        with _write_errors(path):
            _replace(temporary, path, files)
        _sync_committed(path)


def _target(path: Path) -> Path:
    """The absolute path, which stays the same should the block change the working directory."""
    if "\0" in str(path):
        raise FileError(f"{path} cannot be written: its name holds a null byte")
    return Path(os.path.abspath(path))


def _replace(temporary: Path, path: Path, own: Collection[str]) -> None:
    """Puts a new folder in the place of an old one, if there is one, with all in it that is not among ``own``."""
    carried = carry_over(path, temporary, own) if path.exists() else {}
    if carried:
        _sync_folders(temporary)
    old = _put_in_place(temporary, path)
    if old is not None:
        move_latecomers(old, path, own, carried)


def _put_in_place(temporary: Path, path: Path) -> Path | None:
    """Where the old folder is by now, None where there was none."""
    if not path.exists():
        temporary.rename(path)
        return None
    if _exchange(temporary, path):
        return temporary
    aside = temporary.parent / REPLACED_NAME
    path.rename(aside)
    try:
        temporary.rename(path)
    except OSError:
        aside.rename(path)
        raise
    return aside


def _exchange(first: Path, second: Path) -> bool:
    """Swaps two paths in one step; False where the system has no such call."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    if (
        renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE)
        == 0
    ):
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(second))


def _recover(path: Path) -> None:
    """Puts back the folder that a killed writer had moved aside; only the holder of the lock may."""
    for folder in workspaces_of(path):
        aside = folder / REPLACED_NAME
        if aside.is_dir() and not path.exists():
            aside.rename(path)


def _replaceable(
    path: Path, own: Callable[[Path], Collection[str]], others: Literal["refuse", "keep"]
) -> Collection[str]:
    """The files of an existing folder that may go; see ``atomic_folder``."""
    if path.is_symlink():
        raise FileError(f"{path} is a symbolic link; give the folder that it points to")
    if path.exists() and not path.is_dir():
        raise FileError(f"{path} is a file; choose another output folder")
    with _write_errors(path):
        occupied = path.is_dir() and any(path.iterdir())
    if not occupied:
        return ()
    files = frozenset(own(path))
    if others == "refuse":
        with _write_errors(path):
            check_no_others(path, files)
    return files


def _check_no_directory(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        raise FileError(f"{path} is a directory; give the name of a file")


def _sync_tree(folder: Path) -> None:
    for root, _, names in os.walk(folder):
        for name in names:
            file = Path(root, name)
            if file.is_file() and not file.is_symlink():
                _sync(file)
        _sync(Path(root))


def _sync_folders(folder: Path) -> None:
    for root, _, _ in os.walk(folder):
        _sync(Path(root))


def _sync_committed(path: Path) -> None:
    """Syncs the folder that names ``path``; a failure here must not be read as "nothing was written"."""
    try:
        _sync(path.parent)
    except OSError as error:
        raise FileError(
            f"{path} was written, but the disk did not confirm it: {error.strerror or error}"
        ) from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_below(path: Path | str, folder: Path | str) -> bool:
    """Whether a path lies below a folder by its name, however many ``..`` it takes.

    Links are not resolved: those in a folder were made by whoever keeps it, as with data sets that
    are shared.
    """
    whole, root = os.path.abspath(path), os.path.abspath(folder)
    return whole == root or whole.startswith(os.path.join(root, ""))


def _check_regular(path: Path, status: os.stat_result, max_bytes: int) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise FileError(f"{path} is a directory; give a file")
    if not stat.S_ISREG(status.st_mode):
        raise FileError(f"{path} is not a regular file")
    if status.st_size > max_bytes:
        raise FileError(f"{path} has {status.st_size:,} bytes, more than the {max_bytes:,} allowed")


def _reason(path: Path, error: OSError | ValueError) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ENOENT:
        return (
            f"{path} does not exist"
            if not path.is_symlink()
            else f"{path} is a link to a file that does not exist"
        )
    if number == errno.ELOOP:
        return f"{path} is a symbolic link that is not followed"
    if number == errno.ENXIO:  # a socket, or a device without a driver
        return f"{path} is not a regular file"
    return f"{path} cannot be opened: {getattr(error, 'strerror', None) or error}"


@contextlib.contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}") from error


@contextlib.contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    """Turns the system's refusals of our own steps into one line."""
    try:
        yield
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror or error}") from error


@contextlib.contextmanager
def _block_errors(path: Path, folder: Path) -> Iterator[None]:
    """Turns the system's refusal to write below ``folder`` into one line about ``path``; other
    errors pass.

    A failed write carries no file name, a failed open does; a refusal that names another file is
    not about ours.
    """
    try:
        yield
    except OSError as error:
        name = error.filename
        ours = name is None or (
            isinstance(name, (str, bytes)) and Path(os.fsdecode(name)).is_relative_to(folder)
        )
        if error.errno not in _REFUSALS or not ours:
            raise
        raise FileError(f"{path} was not written: {error.strerror}") from error

"""Where a file or a folder is made before it takes its place: a hidden folder beside it, locked.

The kernel frees a ``flock`` with its process, so that the next writer can tell the workspace of a
killed one, and removes it. Somebody else's folder may have such a name too: only a folder with our
lock file in it is removed with its content, and a link never is.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

LOCK_NAME = ".motivnet-lock"
REPLACED_NAME = ".replaced"

_ANY_WORKSPACE = re.compile(r"\..+\.[0-9a-f]{8}\.partial", re.DOTALL)


@contextlib.contextmanager
def workspace(target: Path, *, private: bool = False) -> Iterator[Path]:
    """Give a new, empty folder beside ``target``, which is removed at the end.

    Those of killed writers are removed too. What is made in it has the target's own name, because a
    library may look at the suffix or write a temporary file beside its output.

    Args:
        private: Only this user may enter the folder, whatever the umask is.
    """
    for leftover in workspaces_of(target):
        _sweep(leftover, target.name)
    folder, lock = _create(target, mode=0o700 if private else 0o777)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


@contextlib.contextmanager
def write_lock(target: Path, *, wait: bool = False) -> Iterator[bool]:
    """Lock ``target`` against other writers until the end of the block.

    The lock file is beside the target, not in it, because the target is exchanged.

    Args:
        wait: Whether to wait for another writer.

    Yields:
        Whether this process has the lock.
    """
    path = target.parent / f".{target.name}{LOCK_NAME}"
    lock = _lock(path, wait=wait)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            path.unlink(missing_ok=True)
            os.close(lock)


def workspaces_of(target: Path) -> list[Path]:
    """Return the workspaces of ``target`` that exist; those of ``demo.v2`` are not of ``demo``."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}\.partial")
    return [path for path in target.parent.iterdir() if pattern.fullmatch(path.name)]


def is_workspace(path: Path) -> bool:
    """Return whether a path is a workspace: a folder of such a name with our lock file in it."""
    if not _ANY_WORKSPACE.fullmatch(path.name) or path.is_symlink():
        return False
    lock = path / LOCK_NAME
    return lock.is_file() and not lock.is_symlink()


def _create(target: Path, *, mode: int) -> tuple[Path, int]:
    while True:
        folder = target.parent / f".{target.name}.{secrets.token_hex(4)}.partial"
        folder.mkdir(mode)
        with contextlib.suppress(FileNotFoundError):  # swept by another writer before it was locked
            if (lock := _lock(folder / LOCK_NAME)) is not None:
                return folder, lock


def _sweep(folder: Path, name: str) -> None:
    """Remove what a killed writer left, unless it holds a folder that must be put back."""
    try:
        if not is_workspace(folder):
            # Left by a writer that had no lock yet if it is empty, and somebody else's if not.
            folder.rmdir()
            return
        lock = _lock(folder / LOCK_NAME, create=False)
    except OSError:  # not ours, another user's, or gone by now
        return
    if lock is not None:
        # Both folders are here if the writer died between its two moves.
        if not ((folder / REPLACED_NAME).exists() and (folder / name).exists()):
            shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _lock(path: Path, *, create: bool = True, wait: bool = False) -> int | None:
    """Return the descriptor of a locked file, or None if another process has the lock.

    Its owner may remove it: whoever gets the lock checks that the file is still in place.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    if create:
        flags |= os.O_CREAT
    while True:
        descriptor = os.open(path, flags, 0o666)
        try:
            import fcntl  # Windows has none, and is told so by the commands

            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if _is_in_place(descriptor, path):
                return descriptor
            os.close(descriptor)
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                return None
            raise


def _is_in_place(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False

"""Where a file or a folder is made before it takes its place: a hidden folder beside the target,
with a lock.

The workspace is a folder, and what is made in it bears the target's own name, so that a library
which looks at a suffix, or leaves a temporary file of its own beside the one it writes, does its
work here. The lock tells the workspace of a living writer from that of a killed one, which the next
writer removes: the kernel frees a ``flock`` with its process, however that ends. The lock of a
target is beside it and not in it (the target is exchanged), one to a target (two artifacts of one
folder may be built at the same time), and removed at the end, so that nothing stays behind.
Removing a lock file is safe because whoever gets a lock then checks that the file is still in
place.

A folder of somebody else may have any name, those of our workspaces too: only a folder with our
lock file in it is removed with its content, and a link never is.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

LOCK_NAME = ".motivnet-lock"
REPLACED_NAME = ".replaced"

_ANY_WORKSPACE = re.compile(r"\.(?P<target>.+)\.[0-9a-f]{8}\.partial", re.DOTALL)


@contextlib.contextmanager
def workspace(target: Path, *, private: bool = False) -> Iterator[Path]:
    """A new, empty folder beside ``target``, removed at the end together with those of killed
    writers.

    Args:
        private: Nobody but this user may enter it, whatever the umask is.
    """
    for leftover in workspaces_of(target):
        _sweep(leftover)
    folder, lock = _create(target, mode=0o700 if private else 0o777)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


@contextlib.contextmanager
def sole_writer(target: Path, *, wait: bool = False) -> Iterator[bool]:
    """Whether this process now is the only writer of ``target``; it is so until the end of the
    block.

    Args:
        wait: Whether to wait for other writers.
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
    """The workspaces of ``target`` that exist, whoever made them; those of ``demo`` are not those of ``demo.v2``."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}\.partial")
    return [path for path in target.parent.iterdir() if pattern.fullmatch(path.name)]


def is_workspace(path: Path) -> bool:
    """Whether a path is a workspace of some target: a folder, no link, with such a name and our lock file in it."""
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


def _sweep(folder: Path) -> None:
    """Removes what a killed writer left, unless it holds a folder that has yet to be put back."""
    try:
        if not is_workspace(folder):
            folder.rmdir()  # left by a writer that had no lock yet if it is empty, and somebody else's if not
            return
        lock = _lock(folder / LOCK_NAME, create=False)
    except OSError:  # not ours, another user's, or gone by now
        return
    if lock is not None:
        if not _holds_the_old_folder(folder):
            shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _holds_the_old_folder(folder: Path) -> bool:
    """Whether a writer died between its two moves: the old folder is here, and the new one not in its place."""
    match = _ANY_WORKSPACE.fullmatch(folder.name)
    return (
        match is not None
        and (folder / REPLACED_NAME).exists()
        and (folder / match["target"]).exists()
    )


def _lock(path: Path, *, create: bool = True, wait: bool = False) -> int | None:
    """The descriptor of a locked file, or None where another process has it."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | (os.O_CREAT if create else 0)
    while True:
        descriptor = os.open(path, flags, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if _is_in_place(descriptor, path):
                return descriptor
            os.close(descriptor)  # its owner removed it between our opening and our locking
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise


def _is_in_place(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False

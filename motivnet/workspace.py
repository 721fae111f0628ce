"""Where a file or a folder is made before it takes its place: a hidden folder beside the target, with a lock.

The workspace is a folder, and what is made in it bears the target's own name, so that a library which looks at a
suffix, or leaves a temporary file of its own beside the one it writes, does its work here. The lock tells the
workspace of a living writer from that of a killed one, which the next writer removes: the kernel frees a ``flock``
with its process, however that ends. The lock of a target is beside it and not in it (the target is exchanged), one
to a target (two artifacts of one folder may be built at the same time), and removed at the end, so that nothing
stays behind. Removing a lock file is safe because whoever gets a lock then checks that the file is still in place.
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

LOCK_NAME = ".lock"
REPLACED_NAME = ".replaced"


@contextlib.contextmanager
def workspace(target: Path) -> Iterator[Path]:
    """A new, empty folder beside ``target``, removed at the end together with those of killed writers."""
    for leftover in workspaces_of(target):
        _sweep(leftover)
    folder, lock = _create(target)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


@contextlib.contextmanager
def sole_writer(target: Path) -> Iterator[bool]:
    """Whether this process now is the only writer of ``target``; it is so until the end of the block."""
    path = target.parent / f".{target.name}{LOCK_NAME}"
    lock = _lock(path)
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


def _create(target: Path) -> tuple[Path, int]:
    while True:
        folder = target.parent / f".{target.name}.{secrets.token_hex(4)}.partial"
        folder.mkdir()
        with contextlib.suppress(FileNotFoundError):  # swept by another writer before it was locked
            if (lock := _lock(folder / LOCK_NAME)) is not None:
                return folder, lock


def _sweep(folder: Path) -> None:
    try:
        lock = _lock(folder / LOCK_NAME)
    except OSError:  # another user's, or gone by now
        return
    if lock is not None:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _lock(path: Path) -> int | None:
    """The descriptor of a locked file, or None where another process has it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
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

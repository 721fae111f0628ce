"""Folders appear whole or not at all, and keep what others have put into the folder they replace.

The files of others get a second name in the new folder (a hard link) before the two folders change
places, so that they are always whole under one name or the other. Links are never followed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

from motivnet.errors import FileError
from motivnet.files import absolute_target, block_errors, sync, sync_entry, write_errors
from motivnet.workspace import REPLACED_NAME, is_workspace, workspace, workspaces_of, write_lock

_SHOWN = 3
_NO_HARD_LINKS = frozenset(
    {errno.EPERM, errno.EMLINK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV}
)

_State = tuple[int, int, int, int]
"""Device, inode, size and time of a file; another state means that it was written since."""


@contextlib.contextmanager
def atomic_folder(
    path: Path,
    *,
    own: Callable[[Path], Collection[str]],
    others: Literal["refuse", "keep"] = "refuse",
) -> Iterator[Path]:
    """Give a temporary folder of the same name to fill; after the block it replaces ``path``.

    Two folders change places in one system call (``renameat2`` with ``RENAME_EXCHANGE``), so that a
    process killed at any moment leaves the old folder or the new one under the name. On a file
    system without that call the old folder is moved aside first; if the process dies in between,
    the next call puts it back. One writer at a time holds a lock.

    Args:
        own: Names the files of an existing, non-empty folder that may be removed, as paths below it
            with ``/``; raises ``FileError`` if the folder must not be replaced. It is called before
            anything is written, and again before the folder is replaced, because another one may
            have appeared meanwhile. Nothing else is ever removed.
        others: What happens to everything else in it: ``refuse`` raises, ``keep`` gives it the same
            place in the new folder.

    Raises:
        FileError: If ``path`` is in the way or holds files of others, is being written by another
            process, or cannot be written. Errors of the block that are not about writing this
            folder pass unchanged.
    """
    path = absolute_target(path)
    with contextlib.ExitStack() as stack:
        with write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not stack.enter_context(write_lock(path)):
                raise FileError(
                    f"{path} is being written by another process; "
                    "wait for it or choose another folder"
                )
            _restore_replaced(path)
        _check_replaceable(path, own, others)
        with write_errors(path):
            folder = stack.enter_context(workspace(path))
            temporary = folder / path.name
            temporary.mkdir()
        with block_errors(path, folder):
            yield temporary
        with write_errors(path):
            _sync_tree(temporary)
        replaced = _check_replaceable(path, own, others)
        with write_errors(path):
            _replace(temporary, path, replaced)
        sync_entry(path)


def link_or_copy(source: Path, target: Path, *, across_file_systems: bool = True) -> None:
    """Give a file or a symbolic link a second name: a hard link, or a copy if none can be made.

    Raises:
        FileError: If it would have to be copied and is neither a file nor a link, or the target is
            on another file system and ``across_file_systems`` is off.
        OSError: If the system refuses.
    """
    try:
        os.link(source, target, follow_symlinks=False)
        return
    except OSError as error:
        if error.errno == errno.EXDEV and not across_file_systems:
            raise FileError(
                f"{source} is on another file system than its folder; move or unmount it"
            ) from error
        if error.errno not in _NO_HARD_LINKS:
            raise
    if not source.is_symlink() and not source.is_file():
        raise FileError(f"{source} is neither a file nor a link and cannot be kept; move it away")
    shutil.copy2(source, target, follow_symlinks=False)
    if not target.is_symlink():
        sync(target)


def list_others(folder: Path, own: Collection[str]) -> list[str]:
    """Return the relative paths of everything in a folder besides the files ``own``.

    A folder comes before its content. Folders that only hold such files, and workspaces of our
    writers, are left out.
    """
    parents = {str(parent) for path in own for parent in PurePosixPath(path).parents}
    found, waiting = [], [""]
    while waiting:
        for path, is_folder in _list_entries(folder, waiting.pop()):
            if is_folder:
                waiting.append(path)
            if path not in (parents if is_folder else own):
                found.append(path)
    return sorted(found)


def _list_entries(folder: Path, inside: str) -> Iterator[tuple[str, bool]]:
    with os.scandir(folder / inside) as entries:
        for entry in entries:
            is_folder = entry.is_dir(follow_symlinks=False)
            if not (is_folder and is_workspace(Path(entry.path))):
                yield f"{inside}/{entry.name}" if inside else entry.name, is_folder


def _restore_replaced(path: Path) -> None:
    """Put back the folder that a killed writer had moved aside; needs the lock."""
    for folder in workspaces_of(path):
        aside = folder / REPLACED_NAME
        if aside.is_dir() and not path.exists():
            aside.rename(path)


def _check_replaceable(
    path: Path, own: Callable[[Path], Collection[str]], others: Literal["refuse", "keep"]
) -> Collection[str]:
    """Return the files of an existing folder that may be removed; see ``atomic_folder``."""
    if path.is_symlink():
        raise FileError(f"{path} is a symbolic link; give the folder that it points to")
    if path.exists() and not path.is_dir():
        raise FileError(f"{path} is a file; choose another output folder")
    with write_errors(path):
        occupied = path.is_dir() and any(path.iterdir())
    if not occupied:
        return ()
    files = frozenset(own(path))
    if others == "refuse":
        with write_errors(path):
            _refuse_others(path, files)
    return files


def _refuse_others(folder: Path, own: Collection[str]) -> None:
    found = list_others(folder, own)
    found = [path for path in found if "/" not in path] or found
    if found:
        more = f" and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
        raise FileError(
            f"{folder} holds other files too: {', '.join(found[:_SHOWN])}{more}; "
            "move them away, or choose another output folder"
        )


def _replace(temporary: Path, path: Path, own: Collection[str]) -> None:
    """Put a new folder in the place of an old one, with everything in it that is not ``own``."""
    carried = _carry_over(path, temporary, own) if path.exists() else {}
    if carried:
        for root, _, _ in os.walk(temporary):
            sync(Path(root))
    old = _put_in_place(temporary, path)
    if old is not None:
        _move_latecomers(old, path, own, carried)


def _put_in_place(temporary: Path, path: Path) -> Path | None:
    """Put a folder in place and return where the old one is now, None if there was none."""
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
    """Swap two paths in one step; return False if the system has no such call."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    working_directory, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    old, new = (working_directory, os.fsencode(first)), (working_directory, os.fsencode(second))
    if renameat2(*old, *new, exchange) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(second))


def _carry_over(old: Path, new: Path, own: Collection[str]) -> dict[str, _State]:
    """Give everything of others in ``old`` a second name in ``new``; return their states."""
    carried: dict[str, _State] = {}
    device = old.stat().st_dev
    for path in list_others(old, own):
        status = (old / path).lstat()
        is_folder = stat.S_ISDIR(status.st_mode)
        # Only folders: within one file system a file's own device may differ (overlayfs).
        if is_folder and status.st_dev != device:
            raise FileError(
                f"{old / path} is on another file system than {old}; move or unmount it"
            )
        carried[path] = _state(status)
        _carry(old / path, new / path, is_folder=is_folder)
    # A folder's times are copied after its content, and its mode when it needs no more writing.
    for path in reversed(carried):
        if (old / path).is_dir() and not (old / path).is_symlink():
            shutil.copystat(old / path, new / path)
    return carried


def _carry(source: Path, target: Path, *, is_folder: bool) -> None:
    target_is_folder = target.is_dir() and not target.is_symlink()
    if os.path.lexists(target) and not (is_folder and target_is_folder):
        raise FileError(f"{source} is in the way of a file of that name; move it away")
    (target if is_folder else target.parent).mkdir(parents=True, exist_ok=True)
    if not is_folder:
        link_or_copy(source, target, across_file_systems=False)


def _move_latecomers(
    old: Path, new: Path, own: Collection[str], carried: dict[str, _State]
) -> None:
    """Move to ``new`` what others wrote into ``old`` after it was carried over."""
    for path in list_others(old, own):
        status = (old / path).lstat()
        if stat.S_ISDIR(status.st_mode):
            (new / path).mkdir(parents=True, exist_ok=True)
        elif carried.get(path) != _state(status):
            (new / path).parent.mkdir(parents=True, exist_ok=True)
            (old / path).replace(new / path)


def _state(status: os.stat_result) -> _State:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _sync_tree(folder: Path) -> None:
    for root, _, names in os.walk(folder):
        for name in names:
            file = Path(root, name)
            if file.is_file() and not file.is_symlink():
                sync(file)
        sync(Path(root))

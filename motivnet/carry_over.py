"""What stays of a folder that is replaced: everything in it that is not of those who replace it.

The files of others get a second name in the new folder (a hard link) before the two folders change
places. They are whole under one name or the other at any moment, keep their owners, times and open
handles, and take no space. Links are kept as links and never followed.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from motivnet.errors import FileError
from motivnet.workspace import is_workspace

Seen = tuple[int, int, int, int]
"""A file as it was when it was carried over; one that was written since is another."""

_SHOWN = 3
_NO_HARD_LINKS = frozenset(
    {errno.EPERM, errno.EMLINK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
)


def entries_of_others(folder: Path, own: Collection[str]) -> list[str]:
    """Relative paths of all that is in a folder besides the files ``own``, each folder before what
    is in it.

    Folders that only hold such files, and workspaces of our writers, are not listed.
    """
    parents = {str(parent) for path in own for parent in PurePosixPath(path).parents}
    found, waiting = [], [""]
    while waiting:
        for path, is_folder in _entries(folder, waiting.pop()):
            if is_folder:
                waiting.append(path)
            if path not in (parents if is_folder else own):
                found.append(path)
    return sorted(found)


def check_no_others(folder: Path, own: Collection[str]) -> None:
    """Returns when a folder holds the files ``own`` at most.

    Raises:
        FileError: Naming the first of the others.
    """
    others = [
        path for path in entries_of_others(folder, own) if "/" not in path
    ] or entries_of_others(folder, own)
    if not others:
        return
    more = f" and {len(others) - _SHOWN:,} more" if len(others) > _SHOWN else ""
    raise FileError(
        f"{folder} holds other files too: {', '.join(others[:_SHOWN])}{more}; "
        "move them away, or choose another output folder"
    )


def carry_over(old: Path, new: Path, own: Collection[str]) -> dict[str, Seen]:
    """Gives everything of others in ``old`` a second name in ``new``; by its relative path, what
    was seen of it.

    Raises:
        FileError: If a name is taken in ``new``, or something lies on another file system.
        OSError: If the system refuses.
    """
    carried: dict[str, Seen] = {}
    device = old.stat().st_dev
    for path in entries_of_others(old, own):
        status = (old / path).lstat()
        is_folder = stat.S_ISDIR(status.st_mode)
        if (
            is_folder and status.st_dev != device
        ):  # a file's own may differ within one file system (overlayfs)
            raise FileError(
                f"{old / path} is on another file system than {old}; move or unmount it"
            )
        carried[path] = _seen(status)
        _carry(old / path, new / path, is_folder=is_folder)
    for path in reversed(
        carried
    ):  # a folder's times after its content, and its mode when nothing more comes into it
        if (old / path).is_dir() and not (old / path).is_symlink():
            shutil.copystat(old / path, new / path)
    return carried


def move_latecomers(old: Path, new: Path, own: Collection[str], carried: dict[str, Seen]) -> None:
    """Moves to ``new`` what others wrote into ``old`` after it was carried over.

    Raises:
        OSError: If the system refuses.
    """
    for path in entries_of_others(old, own):
        status = (old / path).lstat()
        if stat.S_ISDIR(status.st_mode):
            (new / path).mkdir(parents=True, exist_ok=True)
        elif carried.get(path) != _seen(status):
            (new / path).parent.mkdir(parents=True, exist_ok=True)
            (old / path).replace(new / path)


def _entries(folder: Path, inside: str) -> Iterator[tuple[str, bool]]:
    with os.scandir(folder / inside) as entries:
        for entry in entries:
            is_folder = entry.is_dir(follow_symlinks=False)
            if not (is_folder and is_workspace(Path(entry.path))):
                yield f"{inside}/{entry.name}" if inside else entry.name, is_folder


def _seen(status: os.stat_result) -> Seen:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _carry(source: Path, target: Path, *, is_folder: bool) -> None:
    if os.path.lexists(target) and not (is_folder and target.is_dir() and not target.is_symlink()):
        raise FileError(
            f"{source} is in the way of a file of that name; move it away and try again"
        )
    if is_folder:
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise FileError(
                f"{source} is on another file system than its folder; move or unmount it"
            ) from error
        if error.errno not in _NO_HARD_LINKS:
            raise
        _copy(source, target)


def _copy(source: Path, target: Path) -> None:
    """Copies a file or a link, for want of hard links; anything else is told of."""
    if not source.is_symlink() and not source.is_file():
        raise FileError(f"{source} is neither a file nor a link and cannot be kept; move it away")
    shutil.copy2(source, target, follow_symlinks=False)
    if not target.is_symlink():
        with target.open("rb") as copy:
            os.fsync(copy.fileno())

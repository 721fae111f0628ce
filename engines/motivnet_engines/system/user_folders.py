"""The folders of this user alone: the cache, for what can be fetched or made again, and the state,
for what cannot.

What lies in them is run: the Python of an environment, compiled kernels. So they are used only
where nobody but the user and root can put anything into them, as ssh asks of its own folder.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from motivnet.errors import FileError
from motivnet.files import make_folder

_ROOT = 0


def user_home() -> Path | None:
    """The user's home folder; None where neither HOME nor the system's list of users tells it."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home() raises where it is not known
    return home if home.is_absolute() else None


def user_cache() -> Path:
    """``$XDG_CACHE_HOME/motivnet`` or ``~/.cache/motivnet``, which need not exist yet.

    Raises:
        FileError: If there is no such folder that is this user's alone.
    """
    return _folder("XDG_CACHE_HOME", ".cache")


def user_state() -> Path:
    """``$XDG_STATE_HOME/motivnet`` or ``~/.local/state/motivnet``, which need not exist yet.

    Raises:
        FileError: If there is no such folder that is this user's alone.
    """
    return _folder("XDG_STATE_HOME", ".local/state")


def made_private(folder: Path) -> Path:
    """The folder, made with all that leads to it for this user alone (0700) where it is missing.

    Raises:
        FileError: If it cannot be made, or others can write into it or into a folder that leads to
        it.
    """
    try:
        make_folder(folder, private=True)
    except OSError as error:
        raise FileError(f"{folder} cannot be written: {error.strerror or error}") from error
    check_private(folder)
    return folder


def check_private(folder: Path) -> None:
    """Returns when nobody but this user and root can put anything into a folder, or another one in
    its place.

    Raises:
        FileError: Naming the folder that is not so, this one or one that leads to it.
    """
    for path in _leading_to(folder):
        status = _status(path)
        if status is None:
            continue
        if status.st_uid not in (_ROOT, os.geteuid()):
            raise FileError(f"{path} belongs to another user, so nothing is kept in {folder}")
        # What lies in a sticky folder is moved only by its owner; in the last one others could add.
        held = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX and path != folder
        if _is_open_to_others(status) and not held:
            raise FileError(
                f"others can write into {path}, so nothing is kept in {folder}; close it with: chmod go-w {path}"
            )


def _folder(variable: str, below_home: str) -> Path:
    """A relative name in the variable is ignored, as the XDG base directory specification asks."""
    named, home = Path(os.environ.get(variable, "")), user_home()
    if not named.is_absolute():
        if home is None:
            raise FileError(f"this user has no home folder; set {variable} to a folder of yours")
        named = home / below_home
    folder = named / "motivnet"
    check_private(folder)
    return folder


def _leading_to(folder: Path) -> Iterator[Path]:
    """The folder and its parents, as it is named and as it is once its links are followed."""
    real = folder.resolve()
    yield from dict.fromkeys((folder, *folder.parents, *real.parents))


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise FileError(f"{path} cannot be used: {error.strerror or error}") from error


def _is_open_to_others(status: os.stat_result) -> bool:
    if status.st_mode & stat.S_IWOTH:
        return True
    return bool(status.st_mode & stat.S_IWGRP) and not _is_own_group(status.st_gid)


def _is_own_group(number: int) -> bool:
    """Whether a group is root's, or the one with the user's name that many systems give each user."""
    if number == _ROOT:
        return True
    try:
        user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(number)
    except KeyError:
        return False
    return group.gr_name == user and set(group.gr_mem) <= {user}

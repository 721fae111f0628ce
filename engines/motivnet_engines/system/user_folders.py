"""Private folders of this user: the cache, for what can be made again, and the state.

Their content is executed: the Python of an environment, compiled kernels. So they are used only if
nobody but the user and root can write into them, as ssh requires of its own folder.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path

from motivnet.errors import FileError
from motivnet.files import make_folder

_ROOT = 0


def user_home() -> Path | None:
    """Return the user's home folder; None if neither HOME nor the list of users has one."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home() raises if there is none
    return home if home.is_absolute() else None


def user_cache() -> Path:
    """Return ``$XDG_CACHE_HOME/motivnet`` or ``~/.cache/motivnet``, which may not exist yet.

    Raises:
        FileError: If the user has no home folder, or others can write into the folder.
    """
    return _folder("XDG_CACHE_HOME", ".cache")


def user_state() -> Path:
    """Return ``$XDG_STATE_HOME/motivnet`` or ``~/.local/state/motivnet``, which may not exist yet.

    Raises:
        FileError: If the user has no home folder, or others can write into the folder.
    """
    return _folder("XDG_STATE_HOME", ".local/state")


def make_private(folder: Path) -> Path:
    """Return the folder; if missing, it and its parents are made with mode 0700.

    Raises:
        FileError: If it cannot be made, or others can write into it or into one of its parents.
    """
    try:
        make_folder(folder, private=True)
    except OSError as error:
        raise FileError(f"{folder} cannot be written: {error.strerror or error}") from error
    check_private(folder)
    return folder


def check_private(folder: Path) -> None:
    """Check that only this user and root can write into a folder or replace it.

    Raises:
        FileError: Naming the folder or the parent that others can write into.
    """
    # The folder and its parents, as named and with links followed.
    for path in dict.fromkeys((folder, *folder.parents, *Path(os.path.realpath(folder)).parents)):
        status = _status(path)
        if status is None:
            continue
        if status.st_uid not in (_ROOT, os.geteuid()):
            raise FileError(f"{path} belongs to another user, so nothing is kept in {folder}")
        # In a sticky folder only the owner can replace an entry, but others can add entries, so
        # it may be a parent and not the folder itself.
        held = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX and path != folder
        if _is_open_to_others(status) and not held:
            raise FileError(
                f"others can write into {path}, so nothing is kept in {folder}; "
                f"close it with: chmod go-w {path}"
            )


def _folder(variable: str, below_home: str) -> Path:
    # A relative path in the variable is ignored, as the XDG base directory specification asks.
    named, home = Path(os.environ.get(variable, "")), user_home()
    if not named.is_absolute():
        if home is None:
            raise FileError(f"this user has no home folder; set {variable} to a folder of yours")
        named = home / below_home
    folder = named / "motivnet"
    check_private(folder)
    return folder


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
    """Return whether a group is root's, or the user's private group of the same name."""
    if number == _ROOT:
        return True
    try:
        user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(number)
    except KeyError:
        return False
    return group.gr_name == user and set(group.gr_mem) <= {user}

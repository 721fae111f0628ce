"""What a path of the user's names: asked in one call, whose refusal is one line."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Literal

from motivnet.errors import FileError

PathKind = Literal["file", "folder", "other"]


def kind_of(path: Path, *, output: str = "") -> PathKind | None:
    """Return what a path names, with links followed; None if there is nothing.

    ``Path.exists`` and its like raise an OSError where the system does not tell: a folder above may
    not be read, the name is too long, links lead in a circle, a network drive is gone.

    Args:
        output: The option that names the path, if it is to be written.

    Raises:
        FileError: If the system does not tell.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:  # a ValueError is a null byte in the path
        reason = getattr(error, "strerror", None) or error
        if output:
            raise FileError(
                f"{output} {path} cannot be written: {reason}; choose another place"
            ) from error
        raise FileError(f"{path} cannot be read: {reason}") from error
    if stat.S_ISDIR(mode):
        return "folder"
    return "file" if stat.S_ISREG(mode) else "other"


def is_folder(path: Path) -> bool:
    """Return whether a path names a folder.

    Raises:
        FileError: As ``kind_of``.
    """
    return kind_of(path) == "folder"


def is_file(path: Path) -> bool:
    """Return whether a path names a regular file.

    Raises:
        FileError: As ``kind_of``.
    """
    return kind_of(path) == "file"


def check_exist(*paths: Path | None) -> None:
    """Refuse a name of nothing before what takes seconds, as the import of PyTorch.

    Args:
        paths: None stands for an option that was left out.

    Raises:
        FileError: If there is nothing of that name, or as ``kind_of``.
    """
    for path in paths:
        if path is not None and kind_of(path) is None and not path.is_symlink():
            raise FileError(f"{path} does not exist; check its name")

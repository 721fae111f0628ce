"""The image files behind what a user names: files, folders, and patterns that no shell expanded."""

from __future__ import annotations

import glob
import os
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from motivnet.datasets.image_folders import PICTURE_SUFFIXES, walk_images
from motivnet.errors import FileError
from motivnet.path_kind import is_folder

_ANY_FOLDERS = "**"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFiles:
    """Files in order, a line about what was left out, and a line per part that is not readable."""

    files: tuple[Path, ...] = ()
    left_out: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()


def find_files(
    path: Path, *, suffixes: Collection[str] = PICTURE_SUFFIXES, kind: str = "image"
) -> FoundFiles:
    """Return a file, the files of a folder, or those that fit a pattern (``photos/**/*.jpg``).

    A pattern is expanded unless a file has that name. Links to folders are followed, and each
    folder is read once, also by ``**``. Hidden files and folders are left out. Any other path is
    kept, for its reader to refuse.

    Args:
        suffixes: Lower-case suffixes of the files to take from folders.
        kind: The name of such a file in error messages.

    Raises:
        FileError: If a folder holds no such file, or a pattern matches nothing.
    """
    expected = f"{kind} ({', '.join(sorted(suffixes))})"
    if _is_folder(path):
        found = _files_below(path, suffixes)
        if not found.files and not found.unreadable:
            raise FileError(f"{'; '.join((f'{path} holds no {expected}', *found.left_out))}")
        return found
    if not glob.has_magic(str(path)) or os.path.lexists(path):
        return FoundFiles(files=(path,))
    unreadable: list[OSError] = []
    matches = list(_expand(path, unreadable.append))
    if not matches and not unreadable:
        raise FileError(
            f"{path} fits no file; check the pattern, in which {_ANY_FOLDERS} stands for any "
            "folders"
        )
    lines = [f"{error.filename} cannot be read: {error.strerror}" for error in unreadable]
    found = _merge(matches, suffixes)
    if not found.files and not found.unreadable and not lines:
        raise FileError(f"{path} fits only folders that hold no {expected}")
    return replace(found, unreadable=tuple(dict.fromkeys((*lines, *found.unreadable))))


def place_of(path: Path) -> tuple[str, str]:
    """Return what two spellings of a file have in common; a link to a file is another file."""
    return os.path.realpath(path.parent), path.name


def _merge(matches: Sequence[Path], suffixes: Collection[str]) -> FoundFiles:
    """Return files and the content of folders in order, each file once, by its shortest name."""
    parts = [
        _files_below(match, suffixes) if _is_folder(match) else FoundFiles(files=(match,))
        for match in matches
    ]
    unique: dict[tuple[str, str], Path] = {}
    for file in sorted((file for part in parts for file in part.files), key=_by_length):
        unique.setdefault(place_of(file), file)
    return FoundFiles(
        files=tuple(sorted(unique.values())),
        left_out=tuple(dict.fromkeys(line for part in parts for line in part.left_out)),
        unreadable=tuple(line for part in parts for line in part.unreadable),
    )


def _by_length(path: Path) -> int:
    return len(path.parts)


def _is_folder(path: Path) -> bool:
    try:
        return is_folder(path)
    except FileError:  # whoever opens it says why
        return False


def _files_below(folder: Path, suffixes: Collection[str]) -> FoundFiles:
    try:
        walk = walk_images(folder, suffixes=suffixes)
    except FileError as error:
        return FoundFiles(unreadable=(str(error),))
    line = replace(walk, unreadable=()).describe()
    return FoundFiles(
        files=walk.files,
        left_out=(f"{folder}: {line}",) if line else (),
        unreadable=tuple(
            f"{folder / name} cannot be read: {reason.removeprefix('unreadable: ')}"
            for reason, name in walk.unreadable
        ),
    )


def _expand(pattern: Path, on_error: Callable[[OSError], object]) -> Iterator[Path]:
    """Yield what fits a pattern.

    ``glob.glob`` follows a circle of links forty times, and two of them in one folder for ever.
    """
    if _ANY_FOLDERS not in pattern.parts:
        yield from map(Path, glob.glob(str(pattern)))  # noqa: PTH207 - leaves hidden out
        return
    place = pattern.parts.index(_ANY_FOLDERS)
    rest = pattern.parts[place + 1 :] or ("*",)
    for base in _expand(Path(*pattern.parts[:place]), on_error):
        for folder in _folders_below(base, on_error):
            yield from _expand(Path(glob.escape(str(folder)), *rest), on_error)


def _folders_below(folder: Path, on_error: Callable[[OSError], object]) -> Iterator[Path]:
    """Yield a folder and those below it, each once; those behind links after the others."""
    waiting, seen = deque([str(folder)]), set[tuple[int, int]]()
    while waiting:
        for path, names, _ in os.walk(waiting.popleft(), onerror=on_error):
            status = Path(path).stat()
            if (identity := (status.st_dev, status.st_ino)) in seen:
                names.clear()
                continue
            seen.add(identity)
            names[:] = [name for name in names if not name.startswith(".")]
            inside = (Path(path, name) for name in names)
            waiting.extend(str(entry) for entry in inside if entry.is_symlink())
            yield Path(path)

"""The image files behind what a user names: files, folders, and patterns that no shell expanded."""

from __future__ import annotations

import errno
import fnmatch
import glob
import os
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from motivnet.datasets.image_folders import NOT_AN_IMAGE, is_rubbish, walk_images
from motivnet.datasets.left_out import LeftOut, tally
from motivnet.errors import FileError
from motivnet.image_formats import names_of_formats
from motivnet.images import IMAGE_SUFFIXES
from motivnet.path_kind import is_folder

_ANY_FOLDERS = "**"
_NO_FOLDER = frozenset((errno.ENOENT, errno.ENOTDIR))


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFiles:
    """Files in order, a line about what was left out, and a line per part that is not readable."""

    files: tuple[Path, ...] = ()
    left_out: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileKind:
    """Which files are taken from folders.

    Args:
        name: Of such a file, in messages.
        formats: The formats in words.
        suffixes: In lower case.
    """

    name: str
    formats: str
    suffixes: Collection[str]


IMAGES = FileKind(name="image", formats=names_of_formats(common=False), suffixes=IMAGE_SUFFIXES)


def find_files(path: Path, *, kind: FileKind = IMAGES) -> FoundFiles:
    """Return a file, the files of a folder, or those that fit a pattern (``photos/**/*.jpg``).

    A pattern is expanded unless a file has that name. Links to folders are followed, and each
    folder is read once, also by ``**``. What is hidden, or of the system, is left out unless it is
    named, and so are files of another kind unless the pattern has a suffix. Any other path is kept,
    for its reader to refuse.

    Raises:
        FileError: If a folder holds no such file, or a pattern matches nothing.
    """
    expected = f"{kind.name} ({kind.formats})"
    if _is_folder(path):
        found = _files_below(path, kind)
        if not found.files and not found.unreadable:
            raise FileError(f"{'; '.join((f'{path} holds no {expected}', *found.left_out))}")
        return found
    if not glob.has_magic(str(path)) or os.path.lexists(path):
        return FoundFiles(files=(path,))
    unreadable: list[OSError] = []
    matches = list(_expand(Path(), _parts_of(path), unreadable.append))
    if not matches and not unreadable:
        raise FileError(
            f"{path} fits no file; check the pattern, in which {_ANY_FOLDERS} stands for any "
            "folders"
        )
    lines = [f"{error.filename} cannot be read: {error.strerror}" for error in unreadable]
    found = _merge(path, matches, kind)
    if not found.files and not found.unreadable and not lines:
        raise FileError("; ".join((f"{path} fits no {expected}", *found.left_out)))
    return replace(found, unreadable=tuple(dict.fromkeys((*lines, *found.unreadable))))


def place_of(path: Path) -> tuple[str, str]:
    """Return what two spellings of a file have in common; a link to a file is another file."""
    return os.path.realpath(path.parent), path.name


def _parts_of(pattern: Path) -> tuple[str, ...]:
    """Return the parts of a pattern; ``a/**/*`` and ``a/**`` are all that is in ``a``."""
    parts = pattern.parts
    while parts[-2:] == (_ANY_FOLDERS, "*"):
        parts = parts[:-1]
    return parts[:-1] if parts[-1] == _ANY_FOLDERS else parts


def _merge(pattern: Path, matches: Sequence[Path], kind: FileKind) -> FoundFiles:
    """Return files and the content of folders in order, each file once, by its shortest name."""
    folders = [match for match in matches if _is_folder(match)]
    parts = [_files_below(folder, kind) for folder in folders]
    others = [match for match in matches if match not in set(folders)]
    if not pattern.suffix or glob.has_magic(pattern.suffix):
        named = [path for path in others if path.suffix.casefold() in kind.suffixes]
        parts.append(_left_out(pattern, [path for path in others if path not in set(named)], kind))
        others = named
    parts.append(FoundFiles(files=tuple(others)))
    unique: dict[tuple[str, str], Path] = {}
    for file in sorted((file for part in parts for file in part.files), key=_by_length):
        unique.setdefault(place_of(file), file)
    return FoundFiles(
        files=tuple(sorted(unique.values())),
        left_out=tuple(dict.fromkeys(line for part in parts for line in part.left_out)),
        unreadable=tuple(line for part in parts for line in part.unreadable),
    )


def _left_out(pattern: Path, paths: Sequence[Path], kind: FileKind) -> FoundFiles:
    if not paths:
        return FoundFiles()
    said = tally(LeftOut(_reason(kind), path.name) for path in paths)
    return FoundFiles(left_out=(f"{pattern}: left out {said}",))


def _reason(kind: FileKind) -> str:
    return f"not named as an {kind.name}"


def _by_length(path: Path) -> int:
    return len(path.parts)


def _is_folder(path: Path) -> bool:
    try:
        return is_folder(path)
    except FileError:  # whoever opens it says why
        return False


def _files_below(folder: Path, kind: FileKind) -> FoundFiles:
    try:
        walk = walk_images(folder, suffixes=kind.suffixes)
    except FileError as error:
        return FoundFiles(unreadable=(str(error),))
    left_out = (
        LeftOut(_reason(kind) if reason == NOT_AN_IMAGE else reason, name)
        for reason, name in walk.left_out
    )
    line = replace(walk, left_out=tuple(left_out), unreadable=()).describe()
    return FoundFiles(
        files=walk.files,
        left_out=(f"{folder}: {line}",) if line else (),
        unreadable=tuple(
            f"{folder / name} cannot be read: {reason.removeprefix('unreadable: ')}"
            for reason, name in walk.unreadable
        ),
    )


def _expand(
    base: Path, parts: tuple[str, ...], on_error: Callable[[OSError], object]
) -> Iterator[Path]:
    """Yield what fits a pattern below a folder.

    ``glob.glob`` hides what may not be read, and follows a circle of links forty times, and two of
    them in one folder for ever.
    """
    if not parts:
        yield base
        return
    part, *rest = parts
    if part == _ANY_FOLDERS:
        for folder in _folders_below(base, on_error):
            yield from _expand(folder, tuple(rest), on_error)
    elif glob.has_magic(part):
        for name in fnmatch.filter(_names_in(base, on_error), part):
            if part.startswith(".") or not is_rubbish(name):
                yield from _expand(base / name, tuple(rest), on_error)
    elif _is_there(base / part, on_error):
        yield from _expand(base / part, tuple(rest), on_error)


def _is_there(path: Path, on_error: Callable[[OSError], object]) -> bool:
    try:
        path.lstat()
    except OSError as error:
        if error.errno not in _NO_FOLDER:
            on_error(error)
        return False
    return True


def _names_in(folder: Path, on_error: Callable[[OSError], object]) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        if error.errno not in _NO_FOLDER:
            on_error(error)
        return []


def _folders_below(folder: Path, on_error: Callable[[OSError], object]) -> Iterator[Path]:
    """Yield a folder and those below it, each once; those behind links after the others."""
    own, linked, seen = deque([folder]), deque[Path](), set[tuple[int, int]]()
    while own or linked:
        path = own.popleft() if own else linked.popleft()
        try:
            status = path.stat()
            with os.scandir(path) as entries:
                inside = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if error.errno not in _NO_FOLDER:
                on_error(error)
            continue
        if (identity := (status.st_dev, status.st_ino)) in seen:
            continue
        seen.add(identity)
        for entry in inside:
            if not is_rubbish(entry.name) and _is_folder(Path(entry.path)):
                (linked if entry.is_symlink() else own).append(Path(entry.path))
        yield path

"""Image files in folders: the one walk that every command uses."""

from __future__ import annotations

import errno
import logging
import os
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TypeVar

from motivnet.datasets.left_out import LeftOut, tally
from motivnet.errors import FileError
from motivnet.images import IMAGE_SUFFIXES

logger = logging.getLogger(__name__)

T = TypeVar("T")

NOT_AN_IMAGE = "not an image file"
"""The reason under which files of other names are counted."""

_RUBBISH = frozenset(
    {
        *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini"),
        *("$recycle.bin", "system volume information", "@eadir", "#recycle", "lost+found"),
    }
)
"""What macOS, Windows, network drives and file systems put into folders, in lower case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFiles:
    """The image files in and below a folder, in the order of their paths.

    ``left_out`` has what is no image file. ``unreadable`` has folders, and links to what may be
    one, that the system does not let be read: nobody knows what they hold. ``rubbish`` counts
    hidden entries and those that systems put there.
    """

    folder: Path
    files: tuple[Path, ...]
    left_out: tuple[LeftOut, ...] = ()
    unreadable: tuple[LeftOut, ...] = ()
    rubbish: int = 0

    def describe(self) -> str:
        """Return what was left out in one line, empty if nothing but rubbish was."""
        said = tally((*self.unreadable, *self.left_out))
        if not said.counts:
            return ""
        hidden = f", {self.rubbish:,} x hidden or of the system" if self.rubbish else ""
        return f"left out {said}{hidden}"

    def warn(self) -> None:
        """Log what was left out, if there is something to say."""
        if line := self.describe():
            logger.warning("%s: %s", self.folder, line)

    def refuse_unreadable(self) -> None:
        """Refuse a folder of which a part cannot be read, for results that depend on all of it.

        Raises:
            FileError: Naming the parts.
        """
        if self.unreadable:
            raise FileError(
                f"{self.folder} cannot be read as a whole: {tally(self.unreadable)}; "
                "mend that, or give a folder without it"
            )


def is_rubbish(name: str) -> bool:
    """Return whether an entry of this name is hidden, or what a system puts into folders."""
    return name.startswith(".") or name.casefold() in _RUBBISH


def visible(folder: Path) -> list[Path]:
    """Return the entries of a folder in the order of their names, without rubbish."""
    return sorted(entry for entry in folder.iterdir() if not is_rubbish(entry.name))


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder in the order of their names, without rubbish."""
    with os.scandir(folder) as entries:
        return sorted(
            Path(entry.path) for entry in entries if not is_rubbish(entry.name) and _is_dir(entry)
        )


def first_images(folder: Path) -> list[Path]:
    """Return the files named as images in a folder, and the first and the last in each folder."""
    folders = subfolders(folder)
    files = sorted(set(visible(folder)).difference(folders))
    found = [file for file in files if is_named_as_image(file)]
    for below in folders:
        inside = [file for file in visible(below) if is_named_as_image(file)]
        found += [inside[0], inside[-1]] if inside else []
    return found


def is_named_as_image(path: PurePath) -> bool:
    """Return whether a file is taken for an image by its name."""
    return path.suffix.casefold() in IMAGE_SUFFIXES


def walk_images(folder: Path, *, suffixes: Collection[str] = IMAGE_SUFFIXES) -> ImageFiles:
    """Return the image files in and below a folder, and what was left out.

    Each folder is read once, however many links lead to it, and under its own name if it has one
    here: a circle of links gives every image once. Nothing is opened to see whether it is an image.

    Args:
        suffixes: Of the files, in lower case.

    Raises:
        FileError: If there is no such folder, or it cannot be read itself.
    """
    walk = _Walk(folder, suffixes)
    for path in walk.folders():
        try:
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError as error:
            if path == folder:
                raise FileError(f"{folder} cannot be read: {error.strerror or error}") from error
            walk.refuse(path, error)
            continue
        for entry in entries:
            walk.sort(entry)
    return ImageFiles(
        folder=folder,
        files=tuple(sorted(walk.files)),
        left_out=tuple(sorted(walk.left_out, key=_by_name)),
        unreadable=tuple(sorted(walk.unreadable, key=_by_name)),
        rubbish=walk.rubbish,
    )


def pick_evenly(items: Sequence[T], count: int) -> list[T]:
    """Return at most ``count`` items, spread evenly from the first to the last."""
    count = min(count, len(items))
    if count < 2:
        return list(items[:count])
    return [items[index * (len(items) - 1) // (count - 1)] for index in range(count)]


def _is_dir(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder; one that cannot be told is left to ``walk_images``."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _by_name(entry: LeftOut) -> str:
    return entry.name


@dataclass(slots=True)
class _Walk:
    """The state of a walk; linked folders wait until all others were read."""

    root: Path
    suffixes: Collection[str]
    files: list[Path] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    unreadable: list[LeftOut] = field(default_factory=list)
    rubbish: int = 0
    _own: list[Path] = field(default_factory=list)
    _linked: deque[Path] = field(default_factory=deque)

    def folders(self) -> Iterator[Path]:
        """Yield each folder to read, once by device and inode, as ``sort`` finds them."""
        seen: set[tuple[int, int]] = set()
        self._own.append(self.root)
        while self._own or self._linked:
            path = self._own.pop() if self._own else self._linked.popleft()
            try:
                status = path.stat()
            except (OSError, ValueError) as error:
                if path == self.root:
                    reason = getattr(error, "strerror", None) or error
                    raise FileError(f"{path} cannot be read: {reason}") from error
                self.refuse(path, error)
                continue
            if (identity := (status.st_dev, status.st_ino)) in seen:
                self._leave_out("folder that is read under another name", path)
                continue
            seen.add(identity)
            yield path

    def sort(self, entry: os.DirEntry[str]) -> None:
        """Put an entry of a folder where it belongs."""
        path = Path(entry.path)
        if is_rubbish(entry.name):
            self.rubbish += 1
            return
        named_as_image = path.suffix.casefold() in self.suffixes
        try:
            if entry.is_dir():
                (self._linked if entry.is_symlink() else self._own).append(path)
            elif named_as_image and (entry.is_file() or entry.is_symlink()):
                self.files.append(path)  # whoever opens a dangling link says that it is one
            else:
                self._leave_out(self._reason(entry, named_as_image), path)
        except OSError as error:
            if named_as_image:
                self.files.append(path)
            elif error.errno == errno.ELOOP:
                self._leave_out("link that leads to itself", path)
            else:
                self.refuse(path, error)

    def refuse(self, path: Path, error: OSError | ValueError) -> None:
        """Count what the system does not let be read."""
        reason = getattr(error, "strerror", None) or str(error)
        self.unreadable.append(LeftOut(f"unreadable: {reason}", self._name(path)))

    def _reason(self, entry: os.DirEntry[str], named_as_image: bool) -> str:
        if entry.is_symlink() and not entry.is_file() and not Path(entry.path).exists():
            return "link to nothing"
        return "not a regular file" if named_as_image else NOT_AN_IMAGE

    def _leave_out(self, reason: str, path: Path) -> None:
        self.left_out.append(LeftOut(reason, self._name(path)))

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

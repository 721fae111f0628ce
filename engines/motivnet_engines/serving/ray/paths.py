"""The images of a dataset as one list of paths, in an order that does not change from run to run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from motivnet.errors import DatasetError, FileError, MissingDependencyError
from motivnet.files import is_below, read_bytes
from motivnet.printable import one_line, shortened
from motivnet_engines.inference.image_files import image_paths

try:
    import pyarrow
    from pyarrow import parquet
except ModuleNotFoundError as error:
    raise MissingDependencyError("pyarrow", extra="ray") from error

Source: TypeAlias = Path | str | Iterable[Path | str]
"""A folder of images, a ``.txt`` file with a path a line, ``.parquet`` with a column ``path``, or the paths."""

PATH_COLUMN = "path"
_SHOWN = 200


def paths_of_source(source: Source, *, allow_outside: bool = False) -> list[str]:
    """Absolute paths, in order; whether they are images is for the workers to find out.

    Paths in a file are relative to its folder. The same path twice is two images.

    Args:
        allow_outside: Whether a file may name images outside its folder; a stranger's could name any file there is.

    Raises:
        DatasetError: If there is no image, the file is not a list of paths, or names one outside its folder.
        FileError: If it cannot be read.
    """
    if not isinstance(source, (str, Path)):
        found, root = list(map(str, source)), Path.cwd()
    elif (kind := (path := Path(source).absolute()).suffix.lower()) == ".txt":
        found, root = _lines(path), path.parent
    elif kind == ".parquet":
        found, root = _column(path), path.parent
    elif path.is_dir():
        found, root = list(map(str, image_paths([path]))), path
    else:
        raise DatasetError(f"{source} is not a folder, a .txt file with a path a line, or .parquet with a column path")
    if not found:
        raise DatasetError(f"{source} names no image")
    paths = [str(root / name) for name in found]
    if isinstance(source, (str, Path)) and not allow_outside:
        _refuse_outside(source, paths, root)
    return paths


def _refuse_outside(source: Path | str, paths: list[str], root: Path) -> None:
    outside = next((path for path in paths if not is_below(path, root)), None)
    if outside is not None:
        raise DatasetError(
            f"{source} names an image outside its folder, {shortened(outside, _SHOWN)}; if you trust where it comes "
            "from, allow it with --allow-outside"
        )


def digest_of_paths(paths: Iterable[str]) -> str:
    """SHA-256 of the list, for which no two lists are the same text."""
    digest = hashlib.sha256()
    for path in paths:
        encoded = path.encode(errors="surrogateescape")
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()


def _lines(path: Path) -> list[str]:
    try:
        text = read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not a list of paths: not UTF-8 at byte {error.start}") from error
    # Not splitlines, which ends a line at ten characters that may be part of a file's name.
    return [name for line in text.split("\n") if (name := line.removesuffix("\r")).strip()]


def _column(path: Path) -> list[str]:
    """The column of a file, or of all files of a folder in order of their names."""
    if not path.exists():
        raise FileError(f"{path} does not exist")
    try:
        column = parquet.read_table(path, columns=[PATH_COLUMN]).column(PATH_COLUMN)
        found = column.cast(pyarrow.string()).to_pylist()
    except (pyarrow.ArrowException, KeyError, OSError) as error:
        reason = one_line(error)
        raise DatasetError(f"{path} has no column {PATH_COLUMN!r} of paths: {reason}") from error
    if None in found:
        raise DatasetError(f"{path} has rows without a path")
    return [str(name) for name in found]

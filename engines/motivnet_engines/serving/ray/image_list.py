"""The images of a dataset as one list of paths, in an order that does not change between runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from motivnet.datasets.listing import refuse_outside
from motivnet.errors import DatasetError, FileError, MissingDependencyError
from motivnet.files import open_regular, read_bytes
from motivnet.printable import one_line
from motivnet_engines.inference.image_files import expand_paths

try:
    import pyarrow
    import pyarrow.compute
    from pyarrow import parquet
except ModuleNotFoundError as error:
    raise MissingDependencyError("pyarrow", extra="ray") from error

Source: TypeAlias = Path | str | Iterable[Path | str]
"""A folder of images, a ``.txt`` file with one path per line, ``.parquet`` with a column ``path``,
or the paths."""

PATH_COLUMN = "path"

MAX_PATHS = 2_000_000
"""The list is held in memory: 100 MB per million paths."""

MAX_BYTES = 1 << 29
"""All paths of a list together."""

_BATCH = 1 << 16


def list_images(source: Source, *, allow_outside: bool = False) -> list[str]:
    """Return absolute paths in order; whether they are images is for the workers to find out.

    Paths in a file are relative to its folder. The same path twice is two images.

    Args:
        allow_outside: Whether a file may name images outside its folder; a stranger's could name
            any file of this machine.

    Raises:
        DatasetError: If there is no image, the file is not a list of paths, or it names one outside
            its folder.
        FileError: If it cannot be read.
    """
    if not isinstance(source, (str, Path)):
        found, root = list(map(str, source)), Path.cwd()
    elif (kind := (path := Path(source).absolute()).suffix.lower()) == ".txt":
        found, root = _lines(path), path.parent
    elif kind == ".parquet":
        found, root = _column(path), path.parent
    elif path.is_dir():
        found, root = list(map(str, expand_paths([path]))), path
    else:
        raise DatasetError(
            f"{source} is not a folder, a .txt file with one path per line, "
            "or .parquet with a column path"
        )
    if not found:
        raise DatasetError(f"{source} names no image")
    paths = [str(root / name) for name in found]
    if isinstance(source, (str, Path)) and not allow_outside:
        refuse_outside(source, paths, folder=root)
    return paths


def digest_of_paths(paths: Iterable[str]) -> str:
    """Return the SHA-256 of a list, in which each path is preceded by its length."""
    digest = hashlib.sha256()
    for path in paths:
        encoded = path.encode(errors="surrogateescape")
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()


def _lines(path: Path) -> list[str]:
    data = read_bytes(path, max_bytes=MAX_BYTES)
    if data.count(b"\n") > MAX_PATHS:
        raise _too_long(path)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{path} is not a list of paths: not UTF-8 at byte {error.start}"
        ) from error
    # Not splitlines, which ends a line at ten characters that may be part of a file's name.
    return [name for line in text.split("\n") if (name := line.removesuffix("\r")).strip()]


def _column(path: Path) -> list[str]:
    """Return the column of a file, or of all files of a folder in the order of their names."""
    if not path.exists():
        raise FileError(f"{path} does not exist")
    found: list[str] = []
    size = 0
    for file in _parquet_files(path):
        for texts, lengths in _texts(file):
            # With a dictionary and run lengths, a few bytes describe any number of long texts:
            # count them before they are made.
            size += pyarrow.compute.sum(lengths, min_count=0).as_py()
            if len(found) + len(texts) > MAX_PATHS or size > MAX_BYTES:
                raise _too_long(file)
            if texts.null_count:
                raise DatasetError(f"{file} has rows without a path")
            found += texts.to_pylist()
    return found


def _parquet_files(path: Path) -> list[Path]:
    """Return the file, or those of a folder without the writers' own (``_SUCCESS``)."""
    if not path.is_dir():
        return [path]
    inside = sorted(file for file in path.rglob("*") if file.is_file())
    return [
        file for file in inside if not any(part[0] in "._" for part in file.relative_to(path).parts)
    ]


def _texts(path: Path) -> Iterator[tuple[pyarrow.Array, pyarrow.Array]]:
    """Yield the column in pieces, dictionary-encoded as stored, with the lengths of the texts."""
    try:
        with (
            open_regular(path) as opened,
            parquet.ParquetFile(opened, read_dictionary=[PATH_COLUMN]) as file,
        ):
            _check_size(path, file.metadata)
            for batch in file.iter_batches(_BATCH, columns=[PATH_COLUMN]):
                column = batch.column(PATH_COLUMN)
                if not isinstance(column, pyarrow.DictionaryArray):
                    raise DatasetError(
                        f"{path} has a column {PATH_COLUMN!r} of {column.type}, not of paths"
                    )
                texts = column.dictionary.cast(pyarrow.string())
                yield column, pyarrow.compute.binary_length(texts).take(column.indices)
    except (pyarrow.ArrowException, KeyError, OSError) as error:
        raise DatasetError(
            f"{path} has no column {PATH_COLUMN!r} of paths: {one_line(error)}"
        ) from error


def _check_size(path: Path, metadata: parquet.FileMetaData) -> None:
    """Refuse a file whose footer states too much; what it does not state is found on reading."""
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    columns = [group.column(index) for group in groups for index in range(group.num_columns)]
    size = sum(
        column.total_uncompressed_size for column in columns if column.path_in_schema == PATH_COLUMN
    )
    if metadata.num_rows > MAX_PATHS or size > MAX_BYTES:
        raise _too_long(path)


def _too_long(path: Path) -> DatasetError:
    return DatasetError(
        f"{path} names more than {MAX_PATHS:,} images, or holds more than {MAX_BYTES:,} bytes of "
        "paths; cut it into several lists"
    )

"""The images of a run as one list, its shards, and the Parquet file that each becomes.

A later run continues an earlier one only if it has the same plan, so that all rows of a folder come
from one list, one artifact and one set of options. The number of rows is in a Parquet file's
footer, so that a finished shard is checked without reading it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from motivnet.artifact import open_artifact
from motivnet.datasets.image_folders import walk_images
from motivnet.datasets.listing import path_in_list, refuse_outside
from motivnet.errors import ConfigError, DatasetError, FileError, MissingDependencyError
from motivnet.files import (
    atomic_path,
    list_folder,
    open_regular,
    read_bytes,
    sha256_of,
    write_atomic,
)
from motivnet.path_kind import is_folder, kind_of
from motivnet.printable import one_line
from motivnet.schema import Schema, SchemaError, decode, encode, text_from_bytes
from motivnet_engines.inference.file_search import find_files
from motivnet_engines.inference.image_files import FileResult
from motivnet_engines.serving.ray.reading import ReadingOptions

try:
    import pyarrow
    import pyarrow.compute
    from pyarrow import parquet
except ModuleNotFoundError as error:
    raise MissingDependencyError("pyarrow", extra="ray") from error

logger = logging.getLogger(__name__)

Source: TypeAlias = Path | str | Iterable[Path | str]
"""A folder of images, a ``.txt`` file with one path per line, ``.parquet`` with a column ``path``,
or the paths."""

MAX_PATHS = 2_000_000
"""The list is held in memory: 100 MB per million paths."""

MAX_BYTES = 1 << 29
"""All paths of a list together."""

_PARQUET = frozenset((".parquet", ".pq"))

PLAN_NAME = "_plan.json"
"""Readers of Parquet folders (Arrow, Spark, DuckDB's globs) ignore names with an underscore."""

_DIFFERENCES = {
    "images": "another number of images",
    "shard_size": "another shard size",
    "paths_sha256": "another list of images",
    "artifact_sha256": "another artifact",
}


def list_images(
    source: Source,
    *,
    allow_outside: bool = False,
    on_unreadable: Callable[[str], object] = logger.error,
) -> list[str]:
    """Return absolute paths in order; whether they are images is for the workers to find out.

    Paths in a file are relative to its folder. The same path twice is two images. What is left out
    of a folder is logged.

    Args:
        allow_outside: Whether a file may name images outside its folder; a stranger's could name
            any file of this machine.
        on_unreadable: Called with a line about each part of a folder that cannot be read.

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
    elif is_folder(path):
        found, root = _images_below(path, on_unreadable), path
    else:
        raise DatasetError(
            f"{source} is not a folder, a .txt file with one path per line, "
            "or .parquet with a column path"
        )
    if not found:
        raise DatasetError(f"{source} names no image")
    paths = [str(path_in_list(root, name, source=Path(str(source)))) for name in found]
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


def _images_below(folder: Path, on_unreadable: Callable[[str], object]) -> list[str]:
    found = find_files(folder)
    if not found.files:
        raise FileError("; ".join(found.unreadable))
    for line in found.left_out:
        logger.warning("%s", line)
    for line in found.unreadable:
        on_unreadable(line)
    return list(map(str, found.files))


def _lines(path: Path) -> list[str]:
    data = read_bytes(path, max_bytes=MAX_BYTES)
    if data.count(b"\n") > MAX_PATHS:
        raise _too_long(path)
    try:
        text = text_from_bytes(data)
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{path} is not a list of paths: not UTF-8 at byte {error.start}"
        ) from error
    # Not splitlines, which ends a line at ten characters that may be part of a file's name.
    return [name for line in text.split("\n") if (name := line.removesuffix("\r")).strip()]


def _column(path: Path) -> list[str]:
    """Return the column of a file, or of all files of a folder in the order of their names."""
    if kind_of(path) is None:
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
    if not is_folder(path):
        return [path]
    found = walk_images(path, suffixes=_PARQUET)
    found.refuse_unreadable()
    return [
        file
        for file in found.files
        if not any(part.startswith("_") for part in file.relative_to(path).parts)
    ]


def _texts(path: Path) -> Iterator[tuple[pyarrow.Array, pyarrow.Array]]:
    """Yield the column in pieces, dictionary-encoded as stored, with the lengths of the texts."""
    try:
        with (
            open_regular(path) as opened,
            parquet.ParquetFile(opened, read_dictionary=["path"]) as file,
        ):
            _check_size(path, file.metadata)
            for batch in file.iter_batches(columns=["path"]):
                column = batch.column("path")
                if not isinstance(column, pyarrow.DictionaryArray):
                    raise DatasetError(f"{path} has a column 'path' of {column.type}, not of paths")
                texts = column.dictionary.cast(pyarrow.string())
                yield column, pyarrow.compute.binary_length(texts).take(column.indices)
    except (pyarrow.ArrowException, KeyError, OSError) as error:
        raise DatasetError(f"{path} has no column 'path' of paths: {one_line(error)}") from error


def _check_size(path: Path, metadata: parquet.FileMetaData) -> None:
    """Refuse a file whose footer states too much; what it does not state is found on reading."""
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    columns = [group.column(index) for group in groups for index in range(group.num_columns)]
    size = sum(
        column.total_uncompressed_size for column in columns if column.path_in_schema == "path"
    )
    if metadata.num_rows > MAX_PATHS or size > MAX_BYTES:
        raise _too_long(path)


def _too_long(path: Path) -> DatasetError:
    return DatasetError(
        f"{path} names more than {MAX_PATHS:,} images, or holds more than {MAX_BYTES:,} bytes of "
        "paths; cut it into several lists"
    )


class Plan(Schema, frozen=True, kw_only=True):
    """What must be the same for a run to continue another."""

    format_version: Literal[1] = 1
    images: int
    shard_size: int
    paths_sha256: str
    artifact_sha256: str
    runtime: str | None
    detect: bool
    detector_sha256: str | None
    unknown: bool
    adapted_classes_sha256: str | None
    embeddings: bool

    @property
    def shards(self) -> int:
        """The number of shards; the last may be smaller."""
        return -(-self.images // self.shard_size)

    def bounds(self, shard: int) -> tuple[int, int]:
        """Return the first image of a shard, and the first one after it."""
        return shard * self.shard_size, min((shard + 1) * self.shard_size, self.images)


def make_plan(paths: list[str], options: ReadingOptions, *, shard_size: int) -> Plan:
    """Return the plan of these images and options.

    Raises:
        ConfigError: If ``shard_size`` is below 1.
        ArtifactError, FileError: If the artifact or a file of the options cannot be read.
    """
    if shard_size < 1:
        raise ConfigError(f"shard_size must be at least 1, not {shard_size}")
    # Reports are left out: a benchmark between two runs does not make another artifact.
    manifest = msgspec.structs.replace(open_artifact(options.artifact).manifest, reports=())
    return Plan(
        images=len(paths),
        shard_size=shard_size,
        paths_sha256=digest_of_paths(paths),
        artifact_sha256=hashlib.sha256(manifest.to_json()).hexdigest(),
        runtime=options.runtime,
        detect=not options.no_detect,
        detector_sha256=_digest(options.detector),
        unknown=options.unknown,
        adapted_classes_sha256=_digest(options.adapted_classes),
        embeddings=options.embeddings,
    )


def _digest(path: str | None) -> str | None:
    return None if path is None else sha256_of(Path(path))


def keep_plan(out: Path, plan: Plan) -> None:
    """Write the plan into a new or empty folder, or check that it is the plan already there.

    A different plan without any part, from a run that ended before its first one, is replaced.

    Raises:
        DatasetError: If the folder has parts of another plan.
        FileError: If it holds anything else, or cannot be written.
    """
    path = out / PLAN_NAME
    before = None
    if kind_of(path) is not None:
        try:
            before = decode(read_bytes(path), Plan)
        except SchemaError as error:
            raise DatasetError(f"{path} is not a plan: {error}; choose a new folder") from error
    if before is not None and parts_in(out):
        _check_same(out, before, plan)
    elif before is None and is_folder(out) and list_folder(out):
        raise FileError(f"{out} holds files and no {PLAN_NAME}; choose a new folder")
    else:
        write_atomic(path, encode(plan), private=True)


def _check_same(out: Path, before: Plan, now: Plan) -> None:
    for name in Plan.__struct_fields__:
        if getattr(before, name) != getattr(now, name):
            choice = f"another choice of {name.removesuffix('_sha256')}"
            raise DatasetError(
                f"{out} was begun with {_DIFFERENCES.get(name, choice)}; "
                "give the same as then, or choose a new folder"
            )


def part_path(out: Path, shard: int) -> Path:
    """Return the file of a shard."""
    return out / f"part-{shard:06d}.parquet"


def parts_in(out: Path) -> list[Path]:
    """Return the parts in a folder, in the order of their shards."""
    return sorted(out.glob("part-*.parquet"))


def part_schema(labels: tuple[str, ...], *, embeddings: bool) -> pyarrow.Schema:
    """Return the columns: one row per image, with all its faces in one column."""
    number = pyarrow.float64()
    box = pyarrow.struct([(side, number) for side in ("x", "y", "width", "height")])
    face = [
        ("label", pyarrow.string()),
        ("confidence", number),
        ("probabilities", pyarrow.struct([(label, number) for label in labels])),
        ("energy", number),
        ("distance", number),
        ("known", pyarrow.bool_()),
        ("box", box),
        ("score", number),
        ("answered_by", pyarrow.string()),
    ]
    if embeddings:
        face.append(("embedding", pyarrow.list_(pyarrow.float32())))
    return pyarrow.schema(
        [
            ("index", pyarrow.int64()),
            ("path", pyarrow.string()),
            ("error", pyarrow.string()),
            ("width", pyarrow.int32()),
            ("height", pyarrow.int32()),
            ("faces", pyarrow.list_(pyarrow.struct(face))),
        ]
    )


def write_part(
    path: Path, results: Iterable[FileResult], *, first: int, schema: pyarrow.Schema
) -> None:
    """Write the rows of a shard whose first image has the index ``first``."""
    rows = [_row(index, result) for index, result in enumerate(results, first)]
    table = pyarrow.Table.from_pylist(rows, schema=schema)
    with atomic_path(path, private=True) as temporary:
        parquet.write_table(table, temporary, compression="zstd")


def _row(index: int, result: FileResult) -> dict[str, Any]:
    # A file's name need not be Unicode, and a column of strings is.
    path = str(result.path).encode(errors="replace").decode()
    row: dict[str, Any] = {"index": index, "path": path, "error": result.error, "faces": []}
    if result.result is not None:
        row |= {"width": result.result.width, "height": result.result.height}
        row["faces"] = [
            {**face.to_dict(), "embedding": face.embedding} for face in result.result.faces
        ]
    return row


def finished_rows(path: Path) -> tuple[int, int]:
    """Return the rows of a part and how many have an error, by its footer; none without a part."""
    try:
        footer = parquet.read_metadata(path)
    except (FileNotFoundError, pyarrow.ArrowInvalid):
        return 0, 0
    column = footer.schema.names.index("error")
    groups = [footer.row_group(group) for group in range(footer.num_row_groups)]
    good = sum(group.column(column).statistics.null_count for group in groups)
    return footer.num_rows, footer.num_rows - good


def unread_images(out: Path, *, at_most: int) -> list[tuple[str, str]]:
    """Return path and error of the first images of a folder's parts that could not be read."""
    found: list[tuple[str, str]] = []
    for path in parts_in(out):
        if len(found) >= at_most:
            break
        if finished_rows(path)[1]:
            unread = ~pyarrow.compute.field("error").is_null()
            table = parquet.read_table(path, columns=["path", "error"], filters=unread)
            found += zip(table["path"].to_pylist(), table["error"].to_pylist(), strict=True)
    return found[:at_most]

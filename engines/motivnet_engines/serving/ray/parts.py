"""The output of one shard: a Parquet file with one row an image, whole or not there.

Parquet and not JSON Lines: Ray Data brings pyarrow, columns keep their types, a reader of labels
does not read embeddings, and the number of rows stands in the file's footer, so that a finished
shard is checked without reading it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from motivnet.errors import MissingDependencyError
from motivnet.files import atomic_path
from motivnet.prediction import Prediction
from motivnet_engines.inference.image_files import FileResult

try:
    import pyarrow
    import pyarrow.compute
    from pyarrow import parquet
except ModuleNotFoundError as error:
    raise MissingDependencyError("pyarrow", extra="ray") from error

_PATH = "path"
_ERROR = "error"


def part_path(out: Path, shard: int) -> Path:
    """Where the rows of a shard are."""
    return out / f"part-{shard:06d}.parquet"


def parts_in(out: Path) -> list[Path]:
    """The parts that are in a folder, in the order of their shards."""
    return sorted(out.glob("part-*.parquet"))


def part_schema(labels: tuple[str, ...], *, embeddings: bool) -> pyarrow.Schema:
    """The columns: one row an image, with all its faces in one column."""
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
        *([("embedding", pyarrow.list_(pyarrow.float32()))] if embeddings else []),
    ]
    return pyarrow.schema(
        [
            ("index", pyarrow.int64()),
            (_PATH, pyarrow.string()),
            (_ERROR, pyarrow.string()),
            ("width", pyarrow.int32()),
            ("height", pyarrow.int32()),
            ("faces", pyarrow.list_(pyarrow.struct(face))),
        ]
    )


def write_part(
    path: Path, results: Iterable[FileResult], *, first: int, schema: pyarrow.Schema
) -> int:
    """Writes the rows of a shard whose first image has the number ``first``; returns how many have an error."""
    rows = [_row(index, result) for index, result in enumerate(results, first)]
    table = pyarrow.Table.from_pylist(rows, schema=schema)
    with atomic_path(path, private=True) as temporary:
        parquet.write_table(table, temporary, compression="zstd")
    return sum(row[_ERROR] is not None for row in rows)


def finished_rows(path: Path) -> tuple[int, int] | None:
    """How many rows a part has and how many of them have an error, by its footer; None where there is no whole part."""
    try:
        footer = parquet.read_metadata(path)
    except (FileNotFoundError, pyarrow.ArrowInvalid):
        return None
    column = footer.schema.names.index(_ERROR)
    groups = [footer.row_group(group) for group in range(footer.num_row_groups)]
    good = sum(group.column(column).statistics.null_count for group in groups)
    return footer.num_rows, footer.num_rows - good


def unread_images(out: Path, *, at_most: int) -> list[tuple[str, str]]:
    """The path and the error of the first images of a folder's parts that could not be read."""
    return list(islice(_unread(out), at_most))


def _unread(out: Path) -> Iterator[tuple[str, str]]:
    for path in parts_in(out):
        _, errors = finished_rows(path) or (0, 0)
        if errors:
            table = parquet.read_table(
                path, columns=[_PATH, _ERROR], filters=~pyarrow.compute.field(_ERROR).is_null()
            )
            yield from zip(table[_PATH].to_pylist(), table[_ERROR].to_pylist(), strict=True)


def _row(index: int, result: FileResult) -> dict[str, Any]:
    # A file's name need not be Unicode, and a column of strings is.
    row: dict[str, Any] = {
        "index": index,
        _PATH: str(result.path).encode(errors="replace").decode(),
    }
    if result.result is None:
        return {**row, _ERROR: result.error, "faces": []}
    faces = [_face(face) for face in result.result.faces]
    return {
        **row,
        _ERROR: None,
        "width": result.result.width,
        "height": result.result.height,
        "faces": faces,
    }


def _face(prediction: Prediction) -> dict[str, Any]:
    return {**prediction.to_dict(), "embedding": prediction.embedding}

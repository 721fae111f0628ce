"""Where records go: to standard output as they come, to a file that appears whole or not at all, or into a table."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TextIO

from motivnet.errors import ConfigError
from motivnet.files import atomic_path
from motivnet_engines.writers.csv_rows import csv_header, csv_rows
from motivnet_engines.writers.jsonl import jsonl_line
from motivnet_engines.writers.records import Record
from motivnet_engines.writers.table import ResultTable

Format = Literal["table", "jsonl", "csv"]
_FORMATS: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


def chosen_format(named: Format | None, out: Path | None) -> Format:
    """The format asked for; else the one that the file is named for, and a table without a file.

    Raises:
        ConfigError: If a table is asked for as a file, the file's name tells no format, or it is a
        folder.
    """
    if out is None:
        return named or "table"
    if out.is_dir():
        raise ConfigError(
            f"--out {out} is a directory; give the name of a file, as {out / 'results.jsonl'}"
        )
    found = named or _FORMATS.get(out.suffix.lower())
    if found is None or found == "table":
        raise ConfigError(f"{out} holds no table; choose --format jsonl or csv")
    return found


@contextlib.contextmanager
def open_sink(
    form: Format, *, labels: Sequence[str], out: Path | None = None, embeddings: bool = False
) -> Iterator[Callable[[Record], None]]:
    """A function that takes every record; standard output has each at once, a file (0600) all of
    them at the end.

    Args:
        labels: Of the probabilities, for the columns of CSV.
        embeddings: Whether JSON Lines hold those of the faces.

    Raises:
        FileError: If the file cannot be written.
    """
    if form == "table":
        with _table() as add:
            yield add
        return
    with _stream(out) as stream:
        stream.write(csv_header(labels) if form == "csv" else "")

        def write(record: Record) -> None:
            stream.write(
                csv_rows(record, labels)
                if form == "csv"
                else jsonl_line(record, embeddings=embeddings)
            )
            if out is None:
                stream.flush()

        yield write


@contextlib.contextmanager
def _table() -> Iterator[Callable[[Record], None]]:
    """Printed in any case: what was found before an error or an interruption is worth seeing."""
    collected = ResultTable()
    try:
        yield collected.add
    finally:
        collected.print()


@contextlib.contextmanager
def _stream(out: Path | None) -> Iterator[TextIO]:
    if out is None:
        yield sys.stdout
        return
    with (
        atomic_path(out, private=True) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as stream,
    ):
        yield stream

"""The lists that datasets bring: rows of CSV files and lines of text, with their places for errors."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from motivnet.errors import DatasetError
from motivnet.files import open_regular

_MAX_BYTES = 4 << 30
_MAX_LINE = 1 << 20
_SHOWN_COLUMNS = 12


def csv_rows(path: Path, *, columns: tuple[str, ...]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The line number and the cells of these columns of each row, read as they are asked for.

    The file may begin with a byte order mark, end its lines in any way, quote its cells and have
    more columns, in any order; of two columns of one name the first counts.

    Raises:
        DatasetError: If it is no CSV file in UTF-8, lacks a column or has a row that is too short.
        FileError: If it cannot be opened.
    """
    with _text(path) as file:
        reader = csv.reader(_lines(file, path))
        try:
            indices = _indices(next(reader, []), columns, path)
            for row in reader:
                if row:
                    yield (
                        reader.line_num,
                        _cells(row, indices, place=f"line {reader.line_num} of {path}"),
                    )
        except (csv.Error, UnicodeDecodeError) as error:
            raise DatasetError(
                f"{path} is not a CSV file in UTF-8 (near line {reader.line_num}: {error})"
            ) from error


def text_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The number and the words of each line that has any.

    Raises:
        DatasetError: If it is no text in UTF-8.
        FileError: If it cannot be opened.
    """
    with _text(path) as file:
        try:
            for number, line in enumerate(_lines(file, path), 1):
                if words := line.split():
                    yield number, words
        except UnicodeDecodeError as error:
            raise DatasetError(f"{path} is not a text file in UTF-8: {error}") from error


def _lines(file: io.TextIOWrapper, path: Path) -> Iterator[str]:
    """The lines of a text, none of which may take the memory of the whole file."""
    number = 0
    while line := file.readline(_MAX_LINE + 1):
        number += 1
        if len(line) > _MAX_LINE:
            raise DatasetError(
                f"line {number} of {path} is longer than the {_MAX_LINE:,} characters allowed"
            )
        yield line


def _text(path: Path) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        open_regular(path, max_bytes=_MAX_BYTES), encoding="utf-8-sig", newline=""
    )


def _indices(header: list[str], columns: tuple[str, ...], path: Path) -> list[int]:
    names = [name.strip().casefold() for name in header]
    if missing := [column for column in columns if column.casefold() not in names]:
        found = ", ".join(name.strip()[:40] for name in header[:_SHOWN_COLUMNS]) or "none"
        raise DatasetError(
            f"{path} lacks the column {', '.join(missing)}; its first line must name it, and has: {found}"
        )
    return [names.index(column.casefold()) for column in columns]


def _cells(row: list[str], indices: list[int], *, place: str) -> tuple[str, ...]:
    if len(row) <= max(indices):
        raise DatasetError(
            f"{place} has {len(row)} cells where at least {max(indices) + 1} are expected"
        )
    return tuple(row[index].strip() for index in indices)

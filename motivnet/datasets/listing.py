"""What the readers of dataset formats share: labelled images, label codes, lists in text files."""

from __future__ import annotations

import csv
import io
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PureWindowsPath
from typing import NamedTuple

from motivnet.datasets.image_folders import is_named_as_image
from motivnet.datasets.left_out import LeftOut, Tally, tally
from motivnet.datasets.sample import RawPixels, Sample, SplitName
from motivnet.errors import DatasetError
from motivnet.files import is_below, open_regular
from motivnet.printable import shortened

_MAX_BYTES = 4 << 30
_MAX_LINE = 1 << 20
_WORD = re.compile(r"[^\s,;]+")
_DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The samples of a dataset, not yet opened, and what was left out."""

    samples: tuple[Sample, ...]
    left_out: Tally = field(default_factory=Tally)

    @property
    def skipped(self) -> dict[str, int]:
        """The number of entries that were left out by reason."""
        return self.left_out.counts


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImage:
    """One image as its dataset labels it, before the labels of a model are known.

    ``votes`` has the number or share of people by emotion, where several were asked; ``emotion``
    has the most of them.
    """

    name: str
    image: Path | RawPixels
    emotion: str
    split: SplitName | None = None
    person: str | None = None
    votes: Mapping[str, float] | None = None


def collect(
    entries: Iterable[LabelledImage | LeftOut | str], *, labels: tuple[str, ...], hidden: int = 0
) -> Listing:
    """Return the entries whose label the model has, in their order.

    A text is the reason why an entry without a name is left out. The first entry of a name counts.
    ``hidden`` is the number of hidden entries beside them.
    """
    samples: dict[str, Sample] = {}
    left_out: list[LeftOut] = []
    for entry in entries:
        if isinstance(entry, str):
            left_out.append(LeftOut(entry))
        elif isinstance(entry, LeftOut):
            left_out.append(entry)
        elif entry.emotion not in labels:
            left_out.append(LeftOut(f"the model has no class {entry.emotion}", entry.name))
        elif entry.name not in samples:
            samples[entry.name] = _sample(entry, labels)
        else:
            same = samples[entry.name].label == labels.index(entry.emotion)
            reason = "listed twice" if same else "listed again with another label"
            left_out.append(LeftOut(reason, entry.name))
    return Listing(samples=tuple(samples.values()), left_out=tally(left_out, hidden=hidden))


def _sample(image: LabelledImage, labels: tuple[str, ...]) -> Sample:
    distribution = None
    if image.votes is not None:
        # Votes for emotions that the model does not have do not count.
        votes = [image.votes.get(label, 0) for label in labels]
        distribution = tuple(count / sum(votes) for count in votes)
    return Sample(
        name=image.name,
        image=image.image,
        label=labels.index(image.emotion),
        distribution=distribution,
        split=image.split,
        person=image.person,
    )


def emotion_from_code(text: str, codes: Mapping[int, str], *, place: str) -> str:
    """Return the emotion that a dataset writes as a number, ``3`` or ``3.0``.

    Raises:
        DatasetError: If the number is not one of ``codes``.
    """
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    emotion = codes.get(int(number)) if number.is_integer() else None
    if emotion is None:
        raise DatasetError(
            f"{place} has the label {shortened(text, 20)!r}; it must be a whole number from "
            f"{min(codes)} to {max(codes)}"
        )
    return emotion


def refuse_outside(source: Path | str, files: Iterable[Path | str], *, folder: Path) -> None:
    """Refuse a list that names images outside its folder.

    A list from a stranger could name any file of this machine. Links in the folder are followed,
    since they are the user's own.

    Raises:
        DatasetError: Naming the first file that lies outside.
    """
    outside = next((file for file in files if not is_below(file, folder)), None)
    if outside is not None and ".." not in Path(outside).parts and not os.path.lexists(outside):
        raise DatasetError(
            f"{source} names {shortened(str(outside), 200)}, which this machine does not have; "
            "make the paths in the list relative to its folder"
        )
    if outside is not None:
        raise DatasetError(
            f"{source} names an image outside its folder, "
            f"{shortened(str(outside), 200)}; if you trust where it comes from, "
            "allow it with --allow-outside"
        )


def path_in_list(folder: Path, name: str, *, source: Path) -> Path:
    r"""Return the path that a list gives to an image, also as Windows writes it (``a\1.jpg``).

    Raises:
        DatasetError: If it names a drive of Windows.
    """
    if "\\" not in name or os.path.lexists(folder / name):
        return folder / name
    if PureWindowsPath(name).drive:
        raise DatasetError(
            f"{source} names {shortened(name, 200)}, which is on another machine; make the paths "
            "in the list relative to its folder"
        )
    return folder / name.replace("\\", "/")


def csv_rows(
    path: Path, *, columns: tuple[str, ...], order: tuple[str, ...] = ()
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Iterate over the rows of a CSV file: the line number, and the cells of these columns.

    The file may begin with a byte order mark, use any line ends, quote its cells, separate them by
    commas, semicolons or tabs, and have more columns in any order. Of two columns with the same
    name the first counts.

    Args:
        order: The names of all columns of a file that may lack the first line, which names them.
            It is taken for a row if it has as many cells and the first one is the name of an image.

    Raises:
        DatasetError: If it is not a CSV file in UTF-8, lacks a column or has a row that is too
            short.
        FileError: If it cannot be opened.
    """
    with _open_text(path) as file:
        lines = _lines(file, path)
        reader = csv.reader([])
        try:
            first = next(lines, "")
            header = _read_header(first, columns, order)
            indices = _indices(header.names, columns, path)
            reader = csv.reader(itertools.chain([first], lines), delimiter=header.delimiter)
            if not header.is_row:
                next(reader, None)
            for row in reader:
                if row and len(row) <= max(indices):
                    raise DatasetError(
                        f"line {reader.line_num} of {path} has {len(row)} cells where at least "
                        f"{max(indices) + 1} are expected"
                    )
                if row:
                    yield reader.line_num, tuple(row[index].strip() for index in indices)
        except (csv.Error, UnicodeDecodeError) as error:
            raise DatasetError(
                f"{path} is not a CSV file in UTF-8 (near line {reader.line_num}: {error})"
            ) from error


def csv_columns(path: Path) -> frozenset[str]:
    """Return the names in the first line of a file, in lower case; none if it has no such line.

    Raises:
        FileError: If it cannot be opened.
    """
    with _open_text(path) as file:
        try:
            first = file.readline(_MAX_LINE)
            return frozenset(
                name.strip().casefold()
                for delimiter in _DELIMITERS
                for name in next(csv.reader([first], delimiter=delimiter), [])
            )
        except (csv.Error, UnicodeDecodeError):
            return frozenset()


def word_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Iterate over the lines of a text that are not empty: the number, and the words.

    Blanks, tabs, commas and semicolons separate words.

    Raises:
        DatasetError: If it is not text in UTF-8.
        FileError: If it cannot be opened.
    """
    with _open_text(path) as file:
        try:
            for number, line in enumerate(_lines(file, path), 1):
                if words := _WORD.findall(line):
                    yield number, words
        except UnicodeDecodeError as error:
            raise DatasetError(f"{path} is not a text file in UTF-8: {error}") from error


def _open_text(path: Path) -> io.TextIOWrapper:
    file = open_regular(path, max_bytes=_MAX_BYTES)
    return io.TextIOWrapper(file, encoding="utf-8-sig", newline="")


def _lines(file: io.TextIOWrapper, path: Path) -> Iterator[str]:
    """Iterate over lines of bounded length: a file without line ends would fill the memory."""
    number = 0
    while line := file.readline(_MAX_LINE + 1):
        number += 1
        if len(line) > _MAX_LINE:
            raise DatasetError(
                f"line {number} of {path} is longer than the {_MAX_LINE:,} characters allowed"
            )
        yield line


class _Header(NamedTuple):
    """The names of the columns, what separates them, and whether the first line is a row."""

    names: list[str]
    delimiter: str = ","
    is_row: bool = False


def _read_header(first: str, columns: tuple[str, ...], order: tuple[str, ...]) -> _Header:
    for delimiter in _DELIMITERS:
        cells = next(csv.reader([first], delimiter=delimiter), [])
        if _names(columns) <= _names(cells):
            return _Header(cells, delimiter)
        if len(cells) == len(order) > 0 and is_named_as_image(PurePath(cells[0].strip())):
            return _Header(list(order), delimiter, is_row=True)
    return _Header(next(csv.reader([first]), []))


def _names(cells: Iterable[str]) -> set[str]:
    return {cell.strip().casefold() for cell in cells}


def _indices(header: list[str], columns: tuple[str, ...], path: Path) -> list[int]:
    names = [name.strip().casefold() for name in header]
    if missing := [column for column in columns if column.casefold() not in names]:
        found = ", ".join(name.strip()[:40] for name in header[:12]) or "none"
        raise DatasetError(
            f"{path} lacks the column {', '.join(missing)}; its first line must name it, and has: "
            f"{found}"
        )
    return [names.index(column.casefold()) for column in columns]

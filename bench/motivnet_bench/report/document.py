"""A report as a value: what a result says, before it becomes HTML, Markdown or terminal output.

Every text in it may come from outside, from a file name or an error of a library. The renderers
escape all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

DASH = "\N{EN DASH}"

Details: TypeAlias = tuple[tuple[str, str], ...]
"""Names and values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Cells of text; ``marks`` are shown beside the first one, and ``kind`` as a colour."""

    cells: tuple[str, ...]
    marks: tuple[str, ...] = ()
    kind: Literal["plain", "default", "failed"] = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under headings; all columns but the first are aligned to the right.

    ``meanings`` explain the headings where there is room for it. A ``tall`` table scrolls on a
    page; a ``compact`` one has no lines at a terminal, and its cells are not wrapped.
    """

    title: str = ""
    headings: tuple[str, ...]
    meanings: tuple[str, ...] = ()
    rows: tuple[Row, ...]
    tall: bool = False
    compact: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class List:
    """Names and values, one per line."""

    title: str = ""
    details: Details


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """An SVG image, which ``draw`` returns; ``description`` is for who cannot see it."""

    draw: Callable[[], bytes]
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A paragraph: what a reader should know, or what went wrong."""

    text: str
    kind: Literal["plain", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """A command to copy."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Two blocks beside each other where there is room."""

    left: Table | List
    right: Plot


Block: TypeAlias = Table | List | Plot | Note | CommandLine | Beside


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Blocks under a title; two ``narrow`` sections in a row fit beside each other."""

    title: str
    blocks: tuple[Block, ...]
    state: Literal["passed", "failed"] | None = None
    narrow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that a report says.

    ``summary`` is what the run comes down to in sentences, ``tiles`` are its most important
    numbers, and ``overview`` is what a terminal has room for.
    """

    title: str
    summary: tuple[str, ...] = ()
    tiles: Details = ()
    sections: tuple[Section, ...] = ()
    overview: tuple[Block, ...]


def rows_from_texts(texts: Iterable[Sequence[str]]) -> tuple[Row, ...]:
    """Return plain rows of these cells."""
    return tuple(Row(cells=tuple(cells)) for cells in texts)


def notes_from_texts(
    texts: Iterable[str], kind: Literal["plain", "warning", "error"]
) -> tuple[Note, ...]:
    """Return a note per text."""
    return tuple(Note(text=text, kind=kind) for text in texts)

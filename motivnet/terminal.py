"""Tables, facts and sentences as every command shows them at a terminal: the only place that prints
with rich.

All texts are foreign here: markup in them is text, and ``motivnet.printable`` makes them printable
and short.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TypeAlias

from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from motivnet.printable import printable, unguarded

_PIPE_WIDTH = 1000

Shown: TypeAlias = RenderableType
"""What ``show`` prints: a text, a table, or parts of these."""


@dataclass(slots=True, kw_only=True)
class TextTable:
    """A table of texts, which rich draws.

    Args:
        titles: Of the columns; one that begins with ``>`` is of numbers. Without them, every row
        begins in bold.
        title: Stands above it.
        ruled: Whether lines are drawn around the cells.
        wrapped: Whether a cell may go over several lines.
    """

    titles: tuple[str, ...]
    title: str | None = None
    ruled: bool = False
    wrapped: bool = True
    _rows: list[tuple[tuple[str, ...], bool]] = field(default_factory=list)

    def add_row(self, *cells: str, bold: bool = False) -> None:
        """Adds a row; ``bold`` tells it from the others."""
        self._rows.append((cells, bold))

    def __rich__(self) -> Table:
        """The table for rich."""
        result = Table(
            title=None if self.title is None else text(self.title),
            title_justify="left",
            title_style="bold",
            pad_edge=self.ruled,
            header_style="bold",
            show_header=bool(self.titles),
        )
        if not self.ruled:
            result.box = None
        self._add_columns(result)
        for cells, bold in self._rows:
            result.add_row(*map(text, cells), style="bold" if bold else None)
        return result

    def _add_columns(self, result: Table) -> None:
        if not self.titles:
            result.add_column(style="bold")
            result.add_column(overflow="fold")
        for title in self.titles:
            justify: JustifyMethod = "right" if title.startswith(">") else "left"
            heading = text(title.removeprefix(">"))
            result.add_column(heading, justify=justify, overflow="fold", no_wrap=not self.wrapped)


def table(*titles: str) -> TextTable:
    """A table with these columns; a title that begins with ``>`` is of numbers."""
    return TextTable(titles=titles)


def facts(named: dict[str, str]) -> TextTable:
    """One line per fact, its name in front."""
    result = TextTable(titles=())
    for name, value in named.items():
        result.add_row(name, value)
    return result


def stacked(*parts: Shown) -> Shown:
    """Parts below each other, without an empty line between them."""
    return Group(*parts)


def marked(word: str, shown: str) -> Text:
    """A green word and a text behind it."""
    return Text.assemble(text(word, "green"), " ", text(shown))


def text(shown: str, style: str = "") -> Text:
    """A text in one of rich's styles."""
    return Text(printable(shown), style=style)


def show(*parts: Shown) -> None:
    """Prints parts to standard output with an empty line between them."""
    # A pipe has no width: a path must not be folded for a terminal that is not there.
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    # The stream behind the guard, because the codes of the styles are to be obeyed; every text was
    # made printable.
    console = Console(
        file=unguarded(sys.stdout), width=width, markup=False, emoji=False, highlight=False
    )
    for number, part in enumerate(parts):
        if number:
            console.print()
        console.print(text(part) if isinstance(part, str) else part)

"""Tables and facts as every command shows them at a terminal."""

from __future__ import annotations

import sys

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

_PIPE_WIDTH = 1000


def table(*titles: str) -> Table:
    """A table with these columns; a title that begins with ``>`` is of numbers."""
    result = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        numeric = title.startswith(">")
        result.add_column(title.removeprefix(">"), justify="right" if numeric else "left", overflow="fold")
    return result


def facts(named: dict[str, str]) -> Table:
    """One line per fact, its name in front; the values are text, not markup."""
    result = Table(box=None, pad_edge=False, show_header=False)
    result.add_column(style="bold")
    result.add_column(overflow="fold")
    for name, value in named.items():
        result.add_row(name, escape(value))
    return result


def show(*parts: RenderableType) -> None:
    """Prints parts to standard output with an empty line between them."""
    # A pipe has no width: a path must not be folded for a terminal that is not there.
    console = Console() if sys.stdout.isatty() else Console(width=_PIPE_WIDTH)
    for number, part in enumerate(parts):
        if number:
            console.print()
        console.print(part, highlight=False)

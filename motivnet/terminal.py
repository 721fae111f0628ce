"""Tables, texts and progress bars as every command shows them: the only place that uses rich.

Every text is shown as it is: markup in it is not obeyed, and ``motivnet.printable`` makes it
printable and short. Rich is imported when something is shown, because a device may show nothing.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from motivnet.printable import guard_output, printable, unguarded

if TYPE_CHECKING:
    from rich.console import Group, JustifyMethod, RenderableType
    from rich.table import Table
    from rich.text import Text

Renderable: TypeAlias = "RenderableType"
"""What ``show`` prints: a text, a table, or parts of these."""

Advance = Callable[[float], None]

logger = logging.getLogger(__name__)

ANNOUNCED_AFTER = 10.0
"""Seconds of a stage after which it is announced where there is no terminal."""


@dataclass(slots=True, kw_only=True)
class TextTable:
    """A table of texts, which rich draws.

    Args:
        titles: Of the columns; one that begins with ``>`` is of numbers. Without titles, each row
            begins in bold.
        title: Stands above the table.
        ruled: Whether lines are drawn around the cells.
        wrapped: Whether a cell may span several lines.
    """

    titles: tuple[str, ...]
    title: str | None = None
    ruled: bool = False
    wrapped: bool = True
    _rows: list[tuple[tuple[str, ...], bool]] = field(default_factory=list)

    def add_row(self, *cells: str, bold: bool = False) -> None:
        """Add a row."""
        self._rows.append((cells, bold))

    def __rich__(self) -> Table:
        """Return the table for rich."""
        from rich.table import Table

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
        if not self.titles:
            result.add_column(style="bold")
            result.add_column(overflow="fold")
        for title in self.titles:
            justify: JustifyMethod = "right" if title.startswith(">") else "left"
            heading = text(title.removeprefix(">"))
            result.add_column(heading, justify=justify, overflow="fold", no_wrap=not self.wrapped)
        for cells, bold in self._rows:
            result.add_row(*map(text, cells), style="bold" if bold else None)
        return result


def table(*titles: str) -> TextTable:
    """Return a table with these columns; a title that begins with ``>`` is of numbers."""
    return TextTable(titles=titles)


def details(named: dict[str, str]) -> TextTable:
    """Return a table with one line per item, its name in front."""
    result = TextTable(titles=())
    for item in named.items():
        result.add_row(*item)
    return result


def stacked(*parts: Renderable) -> Group:
    """Return parts below each other, without an empty line between them."""
    from rich.console import Group

    return Group(*parts)


def marked(word: str, shown: str) -> Text:
    """Return a green word and a text behind it."""
    from rich.text import Text

    return Text.assemble(text(word, "green"), " ", text(shown))


def text(shown: str, style: str = "") -> Text:
    """Return a text in one of rich's styles."""
    from rich.text import Text

    return Text(printable(shown), style=style)


def show(*parts: Renderable) -> None:
    """Print parts to standard output with an empty line between them."""
    from rich.console import Console

    console = Console(
        # Behind the guard: rich's escape codes must reach the terminal; every text is printable.
        file=unguarded(sys.stdout),
        # A pipe has no width, so a path is not folded there.
        width=None if sys.stdout.isatty() else 1000,
        markup=False,
        emoji=False,
        highlight=False,
    )
    for number, part in enumerate(parts):
        if number:
            console.print()
        console.print(text(part) if isinstance(part, str) else part)


@contextlib.contextmanager
def progress(description: str, *, total: float | None = None) -> Iterator[Advance]:
    """Show a progress bar on standard error.

    If that is not a terminal, a stage that lasts long is logged with a line when it has lasted
    ``ANNOUNCED_AFTER`` seconds, and with its time when it is over: the commands print these lines.

    Args:
        total: Number of steps; without it a spinner is shown.

    Yields:
        A function that advances the bar by a number of steps.
    """
    if not sys.stderr.isatty():
        with announced(description):
            yield lambda _: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress, TimeElapsedColumn

    columns = (*Progress.get_default_columns()[:-1], TimeElapsedColumn())
    console = Console(file=unguarded(sys.stderr), emoji=False)
    with Progress(*columns, console=console, transient=True) as bar, _guarded_output():
        shown = escape(printable(description, limit=60))
        task = bar.add_task(shown, total=total)
        yield lambda steps: bar.advance(task, steps)


@contextlib.contextmanager
def announced(description: str) -> Iterator[None]:
    """Log a stage that lasts long; nothing, and without a thread, if nobody reads the log."""
    if not logger.isEnabledFor(logging.INFO):
        yield
        return
    started, was_announced = time.monotonic(), threading.Event()

    def announce() -> None:
        was_announced.set()
        logger.info("%s ...", description)

    timer = threading.Timer(ANNOUNCED_AFTER, announce)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    if was_announced.is_set():
        logger.info("%s: %.0f s", description, time.monotonic() - started)


@contextlib.contextmanager
def _guarded_output() -> Iterator[None]:
    """Guard the streams that rich puts in place while a bar is shown; they obey escape codes."""
    before = sys.stdout, sys.stderr
    guard_output()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before

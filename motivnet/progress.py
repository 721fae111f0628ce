"""A progress bar on standard error, for people at a terminal; silent anywhere else."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from motivnet.printable import guard_output, printable, unguarded

Advance = Callable[[float], None]

_LONGEST = 60


@contextlib.contextmanager
def progress(description: str, *, total: float | None = None) -> Iterator[Advance]:
    """A bar of ``total`` steps (a spinner without a total) that the given function advances.

    Example:
        >>> with progress("hashing", total=3) as advance:
        ...     advance(3)
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress, TimeElapsedColumn

    columns = (*Progress.get_default_columns()[:-1], TimeElapsedColumn())
    with (
        Progress(
            *columns, console=Console(file=unguarded(sys.stderr), emoji=False), transient=True
        ) as bar,
        _guarded_output(),
    ):
        task = bar.add_task(escape(printable(description, limit=_LONGEST)), total=total)
        yield lambda steps: bar.advance(task, steps)


@contextlib.contextmanager
def _guarded_output() -> Iterator[None]:
    """While a bar is drawn, rich has put streams of its own in place, which obey escape sequences."""
    before = sys.stdout, sys.stderr
    guard_output()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before

"""A progress bar on standard error, for people at a terminal; silent anywhere else."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

Advance = Callable[[float], None]


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
    from rich.progress import Progress, TimeElapsedColumn

    columns = (*Progress.get_default_columns()[:-1], TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda steps: bar.advance(task, steps)

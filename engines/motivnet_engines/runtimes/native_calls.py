"""A call of a native runtime that Ctrl-C can end, and whose want of memory is one line."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from motivnet.errors import ArtifactError, RuntimeUnavailableError

T = TypeVar("T")

_OUT_OF_MEMORY = (
    "bad_alloc",
    "out of memory",
    "failed to allocate",
    "not enough memory",
    "cannot allocate memory",
)
"""What runtimes say, in small letters; they have no exception of its own for it."""


def in_main_thread() -> bool:
    """Whether Ctrl-C reaches this thread: Python hears signals in its main thread alone, and only between two calls."""
    return threading.current_thread() is threading.main_thread()


def interruptible(
    call: Callable[[], T], *, thread: ThreadPoolExecutor, stop: Callable[[], None]
) -> T:
    """The result of a call that is made in another thread while this one waits and hears signals.

    Args:
        thread: An executor of one thread, for the calls of one runtime.
        stop: Asks the call to end early; called at Ctrl-C, which goes on once the call has ended.
    """
    try:
        return thread.submit(call).result()
    except KeyboardInterrupt:
        stop()
        thread.submit(stop).result()  # it has one thread: the call has ended before this begins
        raise


@contextlib.contextmanager
def native_errors(name: str) -> Iterator[None]:
    """Turns what a runtime raises while it computes into one line.

    Raises:
        RuntimeUnavailableError: If it ran out of memory.
        ArtifactError: If it cannot compute the model for another reason.
    """
    try:
        yield
    except Exception as error:  # their exceptions have no base of their own
        if is_out_of_memory(error):
            raise RuntimeUnavailableError(
                f"the memory is not enough for {name} to compute this batch; make it smaller, or close programs"
            ) from error
        raise ArtifactError(f"{name} cannot compute the model: {_first_line(error)}") from error


def is_out_of_memory(error: Exception) -> bool:
    """Whether a runtime says with this error that it got no memory."""
    return isinstance(error, MemoryError) or any(
        words in str(error).lower() for words in _OUT_OF_MEMORY
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

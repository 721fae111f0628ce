"""Calls of native runtimes: Ctrl-C ends them, and their errors become one line."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from motivnet.artifact import Artifact
from motivnet.errors import ArtifactError, RuntimeUnavailableError

T = TypeVar("T")

_OUT_OF_MEMORY = (
    "bad_alloc",
    "out of memory",
    "failed to allocate",
    "not enough memory",
    "cannot allocate memory",
)
"""Words of the runtimes, in lower case; they have no exception type for it."""


def in_main_thread() -> bool:
    """Return whether Ctrl-C reaches this thread.

    Python handles signals only in the main thread, and only between two calls of native code.
    """
    return threading.current_thread() is threading.main_thread()


def interruptible(
    call: Callable[[], T], *, thread: ThreadPoolExecutor, stop: Callable[[], None]
) -> T:
    """Return the result of a call in another thread, while this one waits and handles signals.

    Args:
        thread: An executor with one thread, for the calls of one runtime.
        stop: Asks the call to end early. It is called on Ctrl-C, which is raised again when the
            call has ended.
    """
    try:
        return thread.submit(call).result()
    except KeyboardInterrupt:
        stop()
        thread.submit(stop).result()  # in the one thread this begins when the call has ended
        raise


@contextlib.contextmanager
def native_errors(name: str, *, opening: bool = False) -> Iterator[None]:
    """Turn what a runtime raises while it computes, or opens a model, into one line.

    Raises:
        RuntimeUnavailableError: If it ran out of memory.
        ArtifactError: If it cannot compute or open the model for another reason.
    """
    try:
        yield
    except Exception as error:  # their exceptions have no common base
        message = str(error).lower()
        if isinstance(error, MemoryError) or any(words in message for words in _OUT_OF_MEMORY):
            task = "open the model"
            if not opening:
                task = "compute this batch; make it smaller, or close programs"
            raise RuntimeUnavailableError(
                f"the memory is not enough for {name} to {task}"
            ) from error
        problem = "does not take the model" if opening else "cannot compute the model"
        raise ArtifactError(f"{name} {problem}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Return the first line of an error that is not OpenVINO's position in its source code."""
    lines = (line.strip() for line in str(error).splitlines())
    reasons = (line for line in lines if line and not line.startswith("Exception from "))
    return next(reasons, type(error).__name__)


@contextlib.contextmanager
def verified_model(artifact: Artifact) -> Iterator[bytes | str]:
    """Give the verified bytes of a model, or the path of a verified one with external data."""
    if not artifact.has_external_data:
        yield artifact.model_bytes()
        return
    with artifact.verified_model_path() as path:
        yield str(path)

"""What TensorRT says while it works: kept, and cut down to what a person needs."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable
from typing import Any

from motivnet_engines.runtimes.tensorrt.api import Api

logger = logging.getLogger(__name__)

_NOISE = (
    "Cuda Runtime",
    "cudaError",
    "CUDA initialization failure",
    "CUDA driver version is insufficient",
    "--- Begin node ---",
    "--- End node ---",
    "Exception caught in log()",
)
"""Every call repeats the first four on a machine without a driver, which TensorRT-RTX does not need
for a build.

The next two are a node's text, cut off. The last is the bindings' complaint of a message that is no
Unicode.
"""

_LOGGERS: dict[str, Any] = {}
_TAIL = 8
_MAX_LINE = 1_000
_MAX_KEPT = 200
_KEPT = ("WARNING", "ERROR", "INTERNAL_ERROR")


def logger_of(api: Api, *, keep_all: bool = False) -> Any:
    """The one logger of a package in this process, with ``lines``: its messages as (severity name,
    text).

    TensorRT keeps a single logger per process and ignores a second one in part. ``lines`` are the
    last warnings and errors, so that a process may run for ever; ``since`` gives those after a mark
    that was taken from ``said``.

    Args:
        api: The package.
        keep_all: Keep every message from now on. The builder names the layers that it compiled in
        its least ones.
    """
    if api.backend not in _LOGGERS:
        _LOGGERS[api.backend] = _new_logger(api)
    if keep_all:
        _LOGGERS[api.backend].keep_all()
    return _LOGGERS[api.backend]


def tail_of(lines: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """The last warnings and errors, without repetitions and without the noise of a machine that has no GPU."""
    return _tail(text for severity, text in lines if severity in _KEPT)


def tail_of_output(text: str) -> tuple[str, ...]:
    """The last lines that NVIDIA's libraries printed past their logger, under the same rules."""
    return _tail(text.splitlines())


def _tail(texts: Iterable[str]) -> tuple[str, ...]:
    lines = (" ".join(text.split())[:_MAX_LINE] for text in texts)
    kept = dict.fromkeys(
        line for line in lines if line and not any(noise in line for noise in _NOISE)
    )
    return tuple(kept)[-_TAIL:]


def _new_logger(api: Api) -> Any:
    """A subclass made here, because its base is the package's."""

    class CollectingLogger(api.trt.ILogger):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            api.trt.ILogger.__init__(self)
            self.said = 0
            self._kept: deque[tuple[str, str]] = deque(maxlen=_MAX_KEPT)
            self._lock = threading.Lock()  # TensorRT logs from threads of its own

        @property
        def lines(self) -> list[tuple[str, str]]:
            with self._lock:
                return list(self._kept)

        def since(self, mark: int) -> list[tuple[str, str]]:
            with self._lock:
                count = self.said - mark
                return list(self._kept)[-count:] if count else []

        def keep_all(self) -> None:
            with self._lock:
                self._kept = deque(self._kept)

        def log(self, severity: Any, message: str) -> None:
            with self._lock:
                if self._kept.maxlen is None or severity.name in _KEPT:
                    self._kept.append((severity.name, message))
                    self.said += 1
            logger.debug("%s: %s", severity.name, message)

    return CollectingLogger()

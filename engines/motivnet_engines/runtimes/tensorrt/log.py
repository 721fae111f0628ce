"""The log messages of TensorRT: kept, and reduced to what a person needs."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from motivnet.printable import one_line
from motivnet_engines.runtimes.tensorrt.api import Api
from motivnet_engines.system.nvidia import cuda_device_count

logger = logging.getLogger(__name__)

_NOISE_WITHOUT_GPU = (
    "Cuda Runtime",
    "cudaError",
    "CUDA initialization failure",
    "CUDA driver version is insufficient",
)
"""Repeated by every call on a machine without a GPU, which TensorRT-RTX can build on.

Where there is a GPU, such a line is the reason: out of memory, an illegal memory access.
"""

_NOISE = (
    # Around the text of a node, which is cut off.
    "--- Begin node ---",
    "--- End node ---",
    # The bindings' complaint about a message that is not Unicode.
    "Exception caught in log()",
)

_LOGGERS: dict[str, Any] = {}
_TAIL = 8
_MAX_KEPT = 200
_KEPT = ("WARNING", "ERROR", "INTERNAL_ERROR")


def logger_of(api: Api, *, keep: Callable[[str], bool] | None = None) -> Any:
    """Return the one logger of a package in this process; TensorRT partly ignores a second one.

    Its ``lines`` are the last warnings and errors as (severity name, text), so that a process may
    run indefinitely; ``since`` returns those after a mark that was taken from ``said``.

    Args:
        keep: From now on keep also the messages for which this is true, and forget none. The
            builder lists the layers that it compiled at the lowest severity, among the timings of
            hundreds of kernels.
    """
    if api.backend not in _LOGGERS:
        _LOGGERS[api.backend] = _new_logger(api)
    if keep is not None:
        _LOGGERS[api.backend].keep_also(keep)
    return _LOGGERS[api.backend]


def tail_of(lines: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Return the last warnings and errors, without repetitions and known noise."""
    return _tail(text for severity, text in lines if severity in _KEPT)


def tail_of_output(text: str) -> tuple[str, ...]:
    """Return the last lines that NVIDIA's libraries printed instead of logging them."""
    return _tail(text.splitlines())


def _tail(texts: Iterable[str]) -> tuple[str, ...]:
    lines = map(one_line, texts)
    noises = _NOISE if cuda_device_count() else (*_NOISE_WITHOUT_GPU, *_NOISE)
    kept = dict.fromkeys(
        line for line in lines if line and not any(noise in line for noise in noises)
    )
    return tuple(kept)[-_TAIL:]


def _new_logger(api: Api) -> Any:
    class CollectingLogger(api.trt.ILogger):  # type: ignore[misc,name-defined]
        """Defined in a function, because its base class is the package's."""

        def __init__(self) -> None:
            api.trt.ILogger.__init__(self)
            self.said = 0
            self._kept: deque[tuple[str, str]] = deque(maxlen=_MAX_KEPT)
            self._wanted: Callable[[str], bool] | None = None
            self._lock = threading.Lock()  # TensorRT logs from its own threads too

        @property
        def lines(self) -> list[tuple[str, str]]:
            with self._lock:
                return list(self._kept)

        def since(self, mark: int) -> list[tuple[str, str]]:
            with self._lock:
                count = self.said - mark
                return list(self._kept)[-count:] if count else []

        def keep_also(self, wanted: Callable[[str], bool]) -> None:
            with self._lock:
                self._kept, self._wanted = deque(self._kept), wanted

        def log(self, severity: Any, message: str) -> None:
            with self._lock:
                if severity.name in _KEPT or (self._wanted and self._wanted(message)):
                    self._kept.append((severity.name, message))
                    self.said += 1
            logger.debug("%s: %s", severity.name, message)

    return CollectingLogger()

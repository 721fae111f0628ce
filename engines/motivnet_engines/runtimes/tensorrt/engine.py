"""A deserialised engine, which creates execution contexts."""

from __future__ import annotations

import ctypes
import logging
import threading
from typing import Any

from motivnet.artifact.engine_entry import EngineEntry
from motivnet.errors import EngineError, RuntimeUnavailableError
from motivnet.printable import one_line
from motivnet_engines.runtimes.tensorrt.api import Api
from motivnet_engines.runtimes.tensorrt.compatibility import (
    check_validity,
    lean_library,
    needs_lean_runtime,
)
from motivnet_engines.runtimes.tensorrt.log import logger_of

logger = logging.getLogger(__name__)

_ERRORS = ("ERROR", "INTERNAL_ERROR")
_TAIL = 8
_NO_CUDA = "CUDA initialization failure"


class Engine:
    """The owner of TensorRT's objects, which are freed in order while the CUDA context is current.

    Functions are given this owner and never a native object: an error's traceback would keep the
    object alive after ``close``. All methods must be called inside ``CudaMemory.current``.

    Args:
        builtin_graphs: Whether TensorRT-RTX may capture CUDA graphs itself.
    """

    def __init__(self, api: Api, entry: EngineEntry, *, builtin_graphs: bool) -> None:
        self.api = api
        self.entry = entry
        self._wants_builtin_graphs = builtin_graphs
        self._package = f"{entry.backend} {api.version}"
        self._log = logger_of(api)
        self._log_start = self._log.said
        self._creating = threading.Lock()
        self.runtime: Any = None
        self.lean: Any = None
        self.native: Any = None
        self.config: Any = None
        self.cache: Any = None

    def load(self, data: bytes) -> None:
        """Deserialise the engine; the caller has compared the bytes with the manifest's hash.

        Raises:
            EngineError: With TensorRT's message, if it refuses them.
            RuntimeUnavailableError: If TensorRT itself does not start, or the lean runtime of a
                version-compatible engine.
        """
        self.runtime = new_runtime(self.api)
        if hasattr(self.runtime, "get_engine_validity"):
            check_validity(
                self.api.trt,
                *self.runtime.get_engine_validity(data[: self.runtime.engine_header_size]),
            )
        # Host code in an engine stays forbidden: `engine_host_code_allowed` is never set.
        if needs_lean_runtime(self.entry):
            self._load_lean_runtime()
        self.native = (self.lean or self.runtime).deserialize_cuda_engine(data)
        if self.native is None:
            raise self.failure(f"{self._package} does not take the engine")
        if self.entry.weight_streaming:
            self.native.weight_streaming_budget_v2 = (
                self.native.get_weight_streaming_automatic_budget()
            )

    def configure(self, cached: bytes | None) -> None:
        """Give TensorRT-RTX its cache of compiled kernels and its CUDA graphs; others have neither.

        Args:
            cached: What an earlier ``compiled_kernels`` returned; TensorRT-RTX refuses kernels of
                another GPU, driver or version.
        """
        if self.entry.backend != "tensorrt-rtx":  # TensorRT has a configuration without either
            return
        self.config = self.native.create_runtime_config()
        if self._wants_builtin_graphs:
            self.config.cuda_graph_strategy = self.api.trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        self.cache = self.config.create_runtime_cache()
        if cached is not None and not self.cache.deserialize(cached):
            logger.warning(
                "%s does not take the compiled kernels of an earlier run, and compiles again",
                self._package,
            )
        if not self.config.set_runtime_cache(self.cache):
            logger.warning("%s keeps no compiled kernels: %s", self._package, self._last_message())

    @property
    def has_builtin_graphs(self) -> bool:
        """Whether contexts capture CUDA graphs themselves, so that nothing else should."""
        return self.config is not None

    def compiled_kernels(self) -> bytes | None:
        """Return what TensorRT-RTX has compiled, for ``configure``; None without a cache."""
        if self.cache is None:
            return None
        blob = self.cache.serialize()
        return None if blob is None else bytes(memoryview(blob))

    @property
    def scratch_bytes(self) -> int:
        """Device memory for activations that a context must be given; 0 if it allocates them."""
        return 0 if self.config is not None else int(self.native.device_memory_size_v2)

    def new_context(self) -> Any:
        """Create an execution context; where ``scratch_bytes`` is not 0, it has no memory yet.

        May be called from several threads: two streams can capture a graph at the same time.

        Raises:
            EngineError: With TensorRT's message, if there is none.
        """
        with self._creating:
            if self.config is not None:
                context = self.native.create_execution_context(self.config)
            else:
                strategy = self.api.trt.ExecutionContextAllocationStrategy.USER_MANAGED
                context = self.native.create_execution_context(strategy)
        if context is None:
            raise self.failure(
                f"{self._package} cannot make another execution context; free memory of the GPU"
            )
        return context

    def failure(self, message: str) -> EngineError:
        """Return an error with the end of what TensorRT logged since this engine was opened."""
        return EngineError(f"{message}: {self._last_message()}", log=self._log_tail())

    def close(self) -> None:
        """Free engine and runtimes; every context must be gone. May be called again."""
        self.cache = None
        self.config = None
        self.native = None
        self.lean = None
        self.runtime = None

    def _load_lean_runtime(self) -> None:
        path = lean_library(self.entry.version)
        self.lean = self.runtime.load_runtime(str(path))
        if self.lean is None:
            raise RuntimeUnavailableError(
                f"{self._package} cannot load the lean runtime {path}: {self._last_message()}"
            )

    def _last_message(self) -> str:
        tail = self._log_tail(_ERRORS) or self._log_tail()
        return tail[-1] if tail else "it gave no reason"

    def _log_tail(self, severities: tuple[str, ...] = (*_ERRORS, "WARNING")) -> tuple[str, ...]:
        """Return the last messages, CUDA's included: here a driver is present, so they matter."""
        lines = self._log.since(self._log_start)
        said = dict.fromkeys(one_line(text) for severity, text in lines if severity in severities)
        return tuple(said)[-_TAIL:]


def new_runtime(api: Api) -> Any:
    """Return the package's runtime, which CUDA is ready for.

    Without a driver that is new enough, TensorRT logs so and returns a runtime all the same, which
    ends the process at the first engine that it is given, and when it is freed.

    Raises:
        RuntimeUnavailableError: If CUDA is not ready, or there is no runtime.
    """
    log = logger_of(api)
    start = log.said
    try:
        runtime = api.trt.Runtime(log)
    except TypeError as error:  # what the bindings make of a null pointer
        raise RuntimeUnavailableError(
            f"{api.backend} does not start: {_reason(log.since(start))}"
        ) from error
    lines = log.since(start)
    if any(_NO_CUDA in text for _, text in lines):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(runtime))  # never freed
        raise RuntimeUnavailableError(
            f"{api.backend} {api.version} does not start: {_reason(lines)}; "
            "motivnet doctor compares the driver with the package"
        )
    return runtime


def _reason(lines: list[tuple[str, str]]) -> str:
    errors = [text for severity, text in lines if severity in _ERRORS]
    return one_line(errors[0]) if errors else "it gave no reason"

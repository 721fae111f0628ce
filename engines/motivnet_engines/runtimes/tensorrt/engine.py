"""An engine inside TensorRT: deserialised, and the source of execution contexts."""

from __future__ import annotations

import logging
import threading
from typing import Any

from motivnet.artifact.manifest import EngineEntry
from motivnet.errors import EngineError, RuntimeUnavailableError
from motivnet_engines.runtimes.tensorrt.api import Api
from motivnet_engines.runtimes.tensorrt.lean import lean_library, needs_lean_runtime
from motivnet_engines.runtimes.tensorrt.log import logger_of
from motivnet_engines.runtimes.tensorrt.validity import check_validity

logger = logging.getLogger(__name__)

_ERRORS = ("ERROR", "INTERNAL_ERROR")
_TAIL = 8


class Engine:
    """The owner of TensorRT's own objects, which must be freed in their order and while CUDA's
    context is current.

    Functions take this owner and never a native object: an error's traceback would keep that alive
    past ``close``. All methods must be called inside ``CudaMemory.current``.

    Args:
        api: The package.
        entry: What the manifest says of the engine.
        builtin_graphs: Whether TensorRT-RTX may capture CUDA graphs of its own.
    """

    def __init__(self, api: Api, entry: EngineEntry, *, builtin_graphs: bool) -> None:
        self.api = api
        self.entry = entry
        self._wants_builtin_graphs = builtin_graphs
        self._log = logger_of(api)
        self._log_start = self._log.said
        self._making = threading.Lock()
        self.runtime: Any = None
        self.lean: Any = None
        self.native: Any = None
        self.config: Any = None
        self.cache: Any = None

    def load(self, data: bytes) -> None:
        """Deserialises the engine; whether the bytes are those of the manifest has been checked by
        then.

        Raises:
            EngineError: With TensorRT's words, if it does not take them.
            RuntimeUnavailableError: If TensorRT itself does not start, or a version-compatible
            engine's lean runtime.
        """
        try:
            self.runtime = self.api.trt.Runtime(self._log)
        except TypeError as error:  # what the bindings make of a null pointer
            raise RuntimeUnavailableError(
                f"{self.entry.backend} does not start: {self._last_words()}"
            ) from error
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
        """Gives TensorRT-RTX its cache of compiled kernels and its CUDA graphs; nothing for
        ``tensorrt``.

        Args:
            cached: What an earlier ``compiled_kernels`` gave; those of another GPU, driver or
            version are not taken.
        """
        if not hasattr(self.native, "create_runtime_config"):
            return
        self.config = self.native.create_runtime_config()
        if not hasattr(self.config, "create_runtime_cache"):
            self.config = None
            return
        if self._wants_builtin_graphs:
            self.config.cuda_graph_strategy = self.api.trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        self.cache = self.config.create_runtime_cache()
        if cached is not None and not self.cache.deserialize(cached):
            logger.warning(
                "%s does not take the compiled kernels of an earlier run, and compiles again",
                self._package,
            )
        if not self.config.set_runtime_cache(self.cache):
            logger.warning("%s keeps no compiled kernels: %s", self._package, self._last_words())

    @property
    def has_builtin_graphs(self) -> bool:
        """Whether contexts capture CUDA graphs themselves, so that nobody else should."""
        return self.config is not None

    def compiled_kernels(self) -> bytes | None:
        """What TensorRT-RTX compiled since the engine was opened, for ``configure``; None where there is no cache."""
        if self.cache is None:
            return None
        blob = self.cache.serialize()
        return None if blob is None else bytes(memoryview(blob))

    @property
    def scratch_bytes(self) -> int:
        """Device memory for activations that the owner of a context must give it; 0 where contexts have their own."""
        return 0 if self.config is not None else int(self.native.device_memory_size_v2)

    def new_context(self) -> Any:
        """An execution context; without ``scratch_bytes`` of memory still, where those are asked
        for.

        May be called from several threads: two lanes can capture a graph at the same time.

        Raises:
            EngineError: With TensorRT's words, if there is none to be had.
        """
        with self._making:
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
        """An error with the end of what TensorRT logged since this engine was opened."""
        return EngineError(f"{message}: {self._last_words()}", log=self._log_tail())

    def close(self) -> None:
        """Frees engine and runtimes; every context must be gone. A second call does nothing."""
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
                f"{self._package} cannot load the lean runtime {path}: {self._last_words()}"
            )

    @property
    def _package(self) -> str:
        return f"{self.entry.backend} {self.api.version}"

    def _last_words(self) -> str:
        return next(
            iter(self._log_tail(_ERRORS)[-1:] or self._log_tail()[-1:]), "it gave no reason"
        )

    def _log_tail(self, severities: tuple[str, ...] = (*_ERRORS, "WARNING")) -> tuple[str, ...]:
        """CUDA's errors among them: where an engine is opened there is a driver, and they are the reason."""
        lines = self._log.since(self._log_start)
        said = dict.fromkeys(
            " ".join(text.split()) for severity, text in lines if severity in severities
        )
        return tuple(said)[-_TAIL:]

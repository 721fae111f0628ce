"""The CUDA driver API behind one small protocol, through cuda.bindings or pycuda."""

from __future__ import annotations

from motivnet.dependencies import is_installed
from motivnet.errors import ConfigError, MissingDependencyError
from motivnet_engines.runtimes.tensorrt.cuda.base import CudaMemory, MemoryName

__all__ = ["CudaMemory", "MemoryName", "open_memory"]


def open_memory(name: MemoryName | None = None, *, device: int = 0) -> CudaMemory:
    """Open the implementation named, else the first that is installed: cuda.bindings, then pycuda.

    Raises:
        ConfigError: If there is no implementation of that name.
        MissingDependencyError: If it is not installed, or none is.
        RuntimeUnavailableError: If there is no driver, or no such device.
        EngineError: If the device has no room left for a context.
    """
    name = name or _installed()
    if name == "cuda-bindings":
        from motivnet_engines.runtimes.tensorrt.cuda.bindings import CudaBindingsMemory

        return CudaBindingsMemory(device)
    if name == "pycuda":
        from motivnet_engines.runtimes.tensorrt.cuda.pycuda import PyCudaMemory

        return PyCudaMemory(device)
    raise ConfigError(f"no CUDA memory is called {name!r}; choose cuda-bindings or pycuda")


def _installed() -> MemoryName:
    if is_installed("cuda.bindings"):
        return "cuda-bindings"
    if is_installed("pycuda"):
        return "pycuda"
    raise MissingDependencyError("cuda-bindings", extra="trt")

"""What engines are built with on this machine, and what its GPU allows."""

from __future__ import annotations

import importlib.util

from motivnet.artifact.manifest import EngineBackend, Precision
from motivnet.errors import ConfigError, MissingDependencyError, RuntimeUnavailableError
from motivnet_engines.build.builder import check_machine
from motivnet_engines.build.options import precision_problem
from motivnet_engines.runtimes.tensorrt.api import (
    EXTRAS,
    MODULES,
    RTX_COMPUTE_CAPABILITIES,
    load_api,
)
from motivnet_engines.system.nvidia import read_driver


def available_backend() -> EngineBackend | None:
    """What engines are built with here; None where there is nothing.

    TensorRT where it and a GPU are, else TensorRT-RTX where that is, unless the GPU here is one
    that it has no code
    for: an engine that cannot run where it was made is nobody's default.
    """
    capabilities = capabilities_here()
    if capabilities and _loads("tensorrt"):
        return "tensorrt"
    served = not capabilities or capabilities[0] in RTX_COMPUTE_CAPABILITIES
    return "tensorrt-rtx" if served and _loads("tensorrt-rtx") else None


def chosen_backend(name: EngineBackend | None) -> EngineBackend:
    """The backend named, else the one that builds here.

    Raises:
        MissingDependencyError: If none is named and none is installed.
    """
    if chosen := name or available_backend():
        return chosen
    backend: EngineBackend = "tensorrt" if capabilities_here() else "tensorrt-rtx"
    raise MissingDependencyError(MODULES[backend], extra=EXTRAS[backend])


def check_backend(backend: EngineBackend) -> None:
    """Returns when engines of this backend can be built on this machine.

    Raises:
        MissingDependencyError: If its package is not installed.
        RuntimeUnavailableError: If it needs a GPU and there is none.
    """
    check_machine(backend)
    if importlib.util.find_spec(MODULES[backend]) is None:
        raise MissingDependencyError(MODULES[backend], extra=EXTRAS[backend])


def check_gpu(backend: EngineBackend, precision: Precision) -> None:
    """Returns when the GPU that TensorRT builds for has the precision; TensorRT-RTX builds for
    others.

    Raises:
        ConfigError: If it has not.
    """
    capabilities = capabilities_here() if backend == "tensorrt" else ()
    if capabilities and (problem := precision_problem(precision, capabilities[0])):
        raise ConfigError(f"the GPU here cannot run this artifact: {problem}")


def capabilities_here() -> tuple[str, ...]:
    """Compute capabilities of the GPUs that this process may use, such as ``86``."""
    return tuple(gpu.sm for gpu in read_driver().gpus)


def device_memory(backend: EngineBackend) -> int | None:
    """Bytes of the GPU that builds; None where none is needed, as TensorRT-RTX needs none."""
    gpus = read_driver().gpus
    return gpus[0].memory if backend == "tensorrt" and gpus else None


def _loads(backend: EngineBackend) -> bool:
    """Whether the package is installed with all its libraries."""
    try:
        load_api(backend)
    except (MissingDependencyError, RuntimeUnavailableError):
        return False
    return True

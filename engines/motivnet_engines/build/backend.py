"""The backend that engines are built with on this machine, and what its GPU allows."""

from __future__ import annotations

import importlib.util

from motivnet.artifact.engine_entry import EngineBackend
from motivnet.errors import ConfigError, MissingDependencyError, RuntimeUnavailableError
from motivnet.parity import Precision
from motivnet_engines.build.options import precision_problem
from motivnet_engines.runtimes.tensorrt.api import (
    EXTRAS,
    MODULES,
    RTX_COMPUTE_CAPABILITIES,
    load_api,
    too_new_wheel,
)
from motivnet_engines.system.machine import JETPACK_TENSORRT, read_jetson
from motivnet_engines.system.nvidia import cuda_device_count, read_driver


def available_backend() -> EngineBackend | None:
    """Return the backend that can build here, None if there is none.

    TensorRT where it is installed and a GPU is present, or on a Jetson, else TensorRT-RTX if it is
    installed and has code for the GPU here, if any: by default no engine is built that cannot run
    on the machine that built it.
    """
    capabilities = capabilities_here()
    if (capabilities or read_jetson()) and _loads("tensorrt"):
        return "tensorrt"
    supported = not capabilities or capabilities[0] in RTX_COMPUTE_CAPABILITIES
    return "tensorrt-rtx" if supported and _loads("tensorrt-rtx") else None


def choose_backend(name: EngineBackend | None) -> EngineBackend:
    """Return the backend named, else the one that builds here.

    Raises:
        MissingDependencyError, RuntimeUnavailableError: If none is named and none is installed.
    """
    if chosen := name or available_backend():
        return chosen
    backend: EngineBackend = "tensorrt" if capabilities_here() or read_jetson() else "tensorrt-rtx"
    raise _missing(backend)


def check_backend(backend: EngineBackend) -> None:
    """Check that engines of this backend can be built on this machine.

    Raises:
        MissingDependencyError: If its package is not installed.
        RuntimeUnavailableError: If it needs a GPU and there is none, or a newer driver.
    """
    if backend == "tensorrt" and cuda_device_count() == 0:
        if read_jetson():
            raise RuntimeUnavailableError(
                "this Jetson's GPU cannot be used: "
                f"{read_driver().missing_requirement}; motivnet doctor says what to do"
            )
        raise RuntimeUnavailableError(
            "this machine has no NVIDIA GPU, and tensorrt builds only on the GPU that the engine "
            "is for; run 'motivnet build-engine' on the device, or compile ahead of time here for "
            "RTX GPUs: --target tensorrt-rtx, or for build-engine --backend tensorrt-rtx"
        )
    if importlib.util.find_spec(MODULES[backend]) is None:
        raise _missing(backend)
    # TensorRT-RTX compiles without any driver.
    if backend == "tensorrt" and (wheel := too_new_wheel(backend, read_driver())):
        raise RuntimeUnavailableError("; ".join(wheel))


def check_gpu(backend: EngineBackend, precision: Precision) -> None:
    """Check that the GPU here supports the precision, if the backend builds for this GPU.

    Raises:
        ConfigError: If it does not.
    """
    capabilities = capabilities_here() if backend == "tensorrt" else ()
    if capabilities and (problem := precision_problem(precision, capabilities[0])):
        raise ConfigError(f"the GPU here cannot run this artifact: {problem}")


def capabilities_here() -> tuple[str, ...]:
    """Return the compute capabilities, such as ``86``, of the GPUs that this process may use."""
    return tuple(gpu.sm for gpu in read_driver().gpus)


def device_memory(backend: EngineBackend) -> int | None:
    """Return the bytes of the GPU that builds, None if the backend needs none."""
    gpus = read_driver().gpus
    return gpus[0].memory if backend == "tensorrt" and gpus else None


def _missing(backend: EngineBackend) -> MissingDependencyError | RuntimeUnavailableError:
    if backend == "tensorrt" and read_jetson():
        return RuntimeUnavailableError(
            "this Python has no tensorrt, which on a Jetson is a part of JetPack and not of pip; "
            f"run: {JETPACK_TENSORRT}"
        )
    return MissingDependencyError(MODULES[backend], extra=EXTRAS[backend])


def _loads(backend: EngineBackend) -> bool:
    """Tell whether the package is installed with all its libraries."""
    try:
        load_api(backend)
    except (MissingDependencyError, RuntimeUnavailableError):
        return False
    return True

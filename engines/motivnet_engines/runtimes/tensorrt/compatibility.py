"""Whether an engine fits this machine: its platform, its TensorRT and its GPU, before anything of
it is loaded.

An engine is native code for one version of one product on one kind of GPU. What does not match is
refused with the remedy; nothing is rebuilt, and no other runtime is taken, in silence.
"""

from __future__ import annotations

import platform
import sys

from motivnet.artifact.manifest import EngineBackend, EngineEntry, Manifest
from motivnet.errors import RuntimeUnavailableError
from motivnet_engines.runtimes.tensorrt.api import MODULES, RTX_COMPUTE_CAPABILITIES, load_api
from motivnet_engines.runtimes.tensorrt.lean import lean_library, needs_lean_runtime
from motivnet_engines.runtimes.tensorrt.versions import numbers_of
from motivnet_engines.system.nvidia import Gpu, NvidiaDriver, read_driver

_AMPERE = (8, 0)
_AMPERE_WORDS = "Ampere and later (compute capability 8.0)"
_PORTABLE = tuple(sm for sm in RTX_COMPUTE_CAPABILITIES if int(sm) >= 80)
_ARCHITECTURES = {"AMD64": "x86_64", "arm64": "aarch64"}


def engine_entry(manifest: Manifest, backend: EngineBackend) -> EngineEntry:
    """The artifact's engine of a backend.

    Raises:
        RuntimeUnavailableError: If it has none.
    """
    entry = manifest.engine(backend)
    if entry is None:
        raise RuntimeUnavailableError(
            f"the artifact has no {backend} engine; build one here with: motivnet build-engine ARTIFACT"
        )
    return entry


def check_engine(manifest: Manifest, backend: EngineBackend, *, device: int = 0) -> None:
    """Returns when the artifact's engine was made for this platform, this version of its package
    and this GPU.

    Nothing of the engine is read for it, and no CUDA context is made.

    Args:
        manifest: The artifact's.
        backend: Which of its engines.
        device: The GPU's number.

    Raises:
        MissingDependencyError: If the backend's package is not installed.
        RuntimeUnavailableError: Naming every mismatch and its remedy.
    """
    entry = engine_entry(manifest, backend)
    remedy = _remedy(manifest, backend)
    problems = [
        *_platform_problems(entry, remedy),
        *_version_problems(entry, load_api(backend).version, remedy),
        *_gpu_problems(manifest, entry, read_driver(), device),
    ]
    if problems:
        raise RuntimeUnavailableError("; ".join(problems))


def this_platform() -> str:
    """Such as ``linux-x86_64`` or ``linux-aarch64``."""
    machine = platform.machine()
    return f"{sys.platform}-{_ARCHITECTURES.get(machine, machine)}"


def _platform_problems(entry: EngineEntry, remedy: str) -> list[str]:
    here = this_platform()
    if entry.platform == here:
        return []
    return [f"the {entry.backend} engine is for {entry.platform}, this machine is {here}; {remedy}"]


def _version_problems(entry: EngineEntry, version: str, remedy: str) -> list[str]:
    if version == entry.version or (entry.version_compatible and _is_compatible(entry, version)):
        return _lean_problems(entry)
    return [
        f"the {entry.backend} engine was built by {MODULES[entry.backend]} {entry.version} and {version} is "
        f"installed; install that version, or {remedy}"
    ]


def _lean_problems(entry: EngineEntry) -> list[str]:
    if not needs_lean_runtime(entry):
        return []
    try:
        lean_library(entry.version)
    except RuntimeUnavailableError as error:
        return [str(error)]
    return []


def _is_compatible(entry: EngineEntry, version: str) -> bool:
    """TensorRT runs a version-compatible engine from the same major version on; TensorRT-RTX knows no such engine."""
    built, here = numbers_of(entry.version), numbers_of(version)
    return entry.backend == "tensorrt" and built[:1] == here[:1] and here >= built


def _gpu_problems(
    manifest: Manifest, entry: EngineEntry, driver: NvidiaDriver, device: int
) -> list[str]:
    if driver.obstacle is not None:
        return [
            f"the {entry.backend} engine needs an NVIDIA GPU, and here {driver.obstacle}; install the NVIDIA driver, "
            "or choose another runtime such as onnxruntime"
        ]
    if device >= len(driver.gpus):
        return [
            f"there is no GPU {device}, the driver shows {len(driver.gpus)} to this process, numbered from 0"
        ]
    gpu = driver.gpus[device]
    wanted = (
        _wanted_by_rtx(entry, gpu)
        if entry.backend == "tensorrt-rtx"
        else _wanted_by_tensorrt(entry, gpu)
    )
    if wanted is None:
        return []
    have = f"{gpu.name} (compute capability {gpu.compute_capability})"
    return [
        f"the {entry.backend} engine is for {wanted}, this GPU is {have}; {_remedy_for_gpu(manifest, entry, gpu)}"
    ]


def _wanted_by_tensorrt(entry: EngineEntry, gpu: Gpu) -> str | None:
    """The GPU that the engine is for, None if this one will do."""
    built = entry.device
    if built is None:
        return "a GPU that its manifest does not name"
    same = built.compute_capability == gpu.compute_capability
    if entry.hardware_compatibility == "ampere-plus":
        return None if numbers_of(gpu.compute_capability) >= _AMPERE else _AMPERE_WORDS
    if entry.hardware_compatibility == "same-compute-capability":
        return None if same else f"compute capability {built.compute_capability}"
    if same and built.name == gpu.name:
        return None
    return f"{built.name} (compute capability {built.compute_capability})"


def _wanted_by_rtx(entry: EngineEntry, gpu: Gpu) -> str | None:
    if entry.compute_capabilities:
        fits = gpu.sm in entry.compute_capabilities
        return None if fits else f"SM {', '.join(entry.compute_capabilities)}"
    return (
        None
        if gpu.sm in _PORTABLE
        else f"Ampere and later as far as TensorRT-RTX goes (SM {', '.join(_PORTABLE)})"
    )


def _remedy_for_gpu(manifest: Manifest, entry: EngineEntry, gpu: Gpu) -> str:
    """The same product does not help where it has no kernels for the GPU at all."""
    if entry.backend == "tensorrt-rtx" and gpu.sm not in RTX_COMPUTE_CAPABILITIES:
        return (
            f"TensorRT-RTX has none for SM {gpu.sm}, tensorrt has; {_remedy(manifest, 'tensorrt')}"
        )
    return _remedy(manifest, entry.backend)


def _remedy(manifest: Manifest, backend: EngineBackend) -> str:
    command = f"motivnet build-engine ARTIFACT --backend {backend}"
    if manifest.kind == "engine":
        return f"build it here, from the artifact that holds the ONNX graph: {command}"
    return f"build it here: {command}"

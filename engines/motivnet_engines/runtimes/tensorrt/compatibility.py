"""Whether an engine fits this machine: platform, TensorRT version, lean runtime, GPU and header.

An engine is native code for one version of one product on one kind of GPU. What does not fit is
refused with the remedy; an engine is never rebuilt, and another runtime never chosen, silently.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import platform
import sys
from pathlib import Path
from typing import Any

from motivnet.artifact.engine_entry import EngineBackend, EngineEntry
from motivnet.artifact.manifest import Manifest
from motivnet.errors import EngineError, RuntimeUnavailableError
from motivnet_engines.runtimes.tensorrt.api import (
    MODULES,
    RTX_COMPUTE_CAPABILITIES,
    load_api,
    numbers_of,
    too_new_wheel,
)
from motivnet_engines.system.installed import installed_versions
from motivnet_engines.system.nvidia import Gpu, NvidiaDriver, read_driver

logger = logging.getLogger(__name__)

LEAN_VARIABLE = "MOTIVNET_TENSORRT_LEAN"
"""Environment variable: path of the lean runtime, where it does not come from a Python package."""

_LEAN_DISTRIBUTIONS = (
    "tensorrt-lean-cu13-libs",
    "tensorrt-lean-cu12-libs",
    "tensorrt-lean-cu13",
    "tensorrt-lean-cu12",
    "tensorrt-lean",
)

_PORTABLE = tuple(sm for sm in RTX_COMPUTE_CAPABILITIES if int(sm) >= 80)
_ARCHITECTURES = {"AMD64": "x86_64", "arm64": "aarch64"}

_REBUILD = "build it here: motivnet build-engine ARTIFACT --backend tensorrt-rtx"
DIAGNOSES: dict[str, str] = {
    "MALFORMED_ENGINE": f"the file is damaged or is not an engine of TensorRT-RTX; {_REBUILD}",
    "VERSION_MISMATCH": "another version of TensorRT-RTX built it; install that version, "
    f"or {_REBUILD}",
    "UNSUPPORTED_CC": f"it was not compiled for this GPU; {_REBUILD}",
    "OLD_CUDA_DRIVER": "the NVIDIA driver is too old for it; update the driver",
    "OLD_CUDA_RUNTIME": "the CUDA runtime is too old for it; update the CUDA libraries that "
    "tensorrt_rtx is used with",
    "INSUFFICIENT_GPU_MEMORY": "the GPU has not enough free memory for it; free some, or build it "
    "with a smaller --max-batch",
    "CUDA_ERROR": "CUDA is not installed correctly; repair the NVIDIA driver, which "
    "motivnet doctor reports on",
}
"""By the names of ``EngineInvalidityDiagnostics``, worst first."""


def engine_entry(manifest: Manifest, backend: EngineBackend) -> EngineEntry:
    """Return the artifact's engine of a backend.

    Raises:
        RuntimeUnavailableError: If it has none.
    """
    entry = manifest.engine(backend)
    if entry is None:
        raise RuntimeUnavailableError(
            f"the artifact has no {backend} engine; build one here with: "
            "motivnet build-engine ARTIFACT"
        )
    return entry


def check_engine(manifest: Manifest, backend: EngineBackend, *, device: int = 0) -> None:
    """Check that the engine was made for this platform, this package version and this GPU.

    The engine's file is not read, and no CUDA context is created.

    Raises:
        MissingDependencyError: If the backend's package is not installed.
        RuntimeUnavailableError: Naming every mismatch and its remedy.
    """
    entry, driver = engine_entry(manifest, backend), read_driver()
    problems = [
        *_platform_problems(manifest, entry),
        *_version_problems(manifest, entry, load_api(backend).version),
        *_gpu_problems(manifest, entry, driver, device),
    ]
    if wheel := too_new_wheel(backend, driver):
        problems.append("; ".join(wheel))
    if problems:
        raise RuntimeUnavailableError("; ".join(problems))


def this_platform() -> str:
    """Return a name such as ``linux-x86_64`` or ``linux-aarch64``."""
    machine = platform.machine()
    return f"{sys.platform}-{_ARCHITECTURES.get(machine, machine)}"


def needs_lean_runtime(entry: EngineEntry) -> bool:
    """Tell whether an engine needs the lean runtime instead of the package's runtime."""
    return entry.backend == "tensorrt" and entry.version_compatible


def lean_library(version: str) -> Path:
    """Return the library that runs engines which TensorRT ``version`` built, without loading it.

    It is never extracted from the engine: that would let an engine run native code of its choice.

    Raises:
        RuntimeUnavailableError: Naming what to install or set.
    """
    name = f"libnvinfer_lean.so.{version.partition('.')[0]}"
    if named := os.environ.get(LEAN_VARIABLE):
        path = Path(named).absolute()  # the loader searches the system's folders for a bare name
        if path.is_file():
            return path
        raise RuntimeUnavailableError(
            f"{LEAN_VARIABLE} names {named!r}, which is not a file; set it to the path of the "
            f"{name} of TensorRT {version}"
        )
    installed = list(installed_versions(_LEAN_DISTRIBUTIONS).values())
    spec = importlib.util.find_spec("tensorrt_lean_libs") if version in installed else None
    for folder in (spec and spec.submodule_search_locations) or ():
        if (path := Path(folder) / name).is_file():
            return path
    here = "which is not installed"
    if version in installed:
        here = "which its installed package lacks"
    elif installed:
        here = f"and tensorrt-lean {installed[0]} is installed"
    raise RuntimeUnavailableError(
        "the tensorrt engine is version-compatible and runs on the lean runtime of TensorRT "
        f"{version}, {here}; install tensorrt-lean=={version}, or set {LEAN_VARIABLE} to the path "
        f"of its {name}"
    )


def check_validity(trt: Any, validity: Any, diagnostics: int) -> None:
    """Check what TensorRT-RTX's ``Runtime.get_engine_validity`` says of an engine's header.

    A valid header does not prove an undamaged engine, because only the first bytes are examined;
    the hash in the manifest does. ``INVALID`` without a reason is reported for every good engine
    on a machine without a driver, so deserialisation decides then.

    Raises:
        EngineError: Naming every reason why the engine cannot be loaded, each with its remedy.
    """
    reasons = _reasons(trt, int(diagnostics))
    if validity == trt.EngineValidity.INVALID and reasons:
        raise EngineError(f"the engine cannot be used here: {'; '.join(reasons)}", problems=reasons)
    if reasons or validity == trt.EngineValidity.SUBOPTIMAL:
        said = "; ".join(reasons) or f"it was compiled for another GPU and may be slow; {_REBUILD}"
        logger.warning("TensorRT-RTX finds the engine usable, but: %s", said)


def _reasons(trt: Any, diagnostics: int) -> tuple[str, ...]:
    """Explain the bits that are set; a bit that a later version added is given by its name."""
    members = trt.EngineInvalidityDiagnostics.__members__
    order = [*DIAGNOSES, *(name for name in members if name not in DIAGNOSES)]
    present = [name for name in order if name in members and diagnostics & int(members[name])]
    reasons = [DIAGNOSES.get(name, f"TensorRT-RTX says {name}; {_REBUILD}") for name in present]
    if rest := diagnostics & ~sum(int(member) for member in members.values()):
        reasons.append(f"TensorRT-RTX gives the unknown reason {rest}; {_REBUILD}")
    return tuple(reasons)


def _platform_problems(manifest: Manifest, entry: EngineEntry) -> list[str]:
    here = this_platform()
    if entry.platform == here:
        return []
    return [
        f"the {entry.backend} engine is for {entry.platform}, this machine is {here}; "
        f"{_remedy(manifest, entry.backend)}"
    ]


def _version_problems(manifest: Manifest, entry: EngineEntry, version: str) -> list[str]:
    if version != entry.version and not _runs_on_later_version(entry, version):
        return [
            f"the {entry.backend} engine was built by {MODULES[entry.backend]} {entry.version} and "
            f"{version} is installed; install that version, or {_remedy(manifest, entry.backend)}"
        ]
    try:
        if needs_lean_runtime(entry):
            lean_library(entry.version)
    except RuntimeUnavailableError as error:
        return [str(error)]
    return []


def _runs_on_later_version(entry: EngineEntry, version: str) -> bool:
    """TensorRT runs a version-compatible engine in later versions of the same major version."""
    built, here = numbers_of(entry.version), numbers_of(version)
    return needs_lean_runtime(entry) and built[:1] == here[:1] and here >= built


def _gpu_problems(
    manifest: Manifest, entry: EngineEntry, driver: NvidiaDriver, device: int
) -> list[str]:
    if (missing := driver.missing_requirement) is not None:
        return [
            f"the {entry.backend} engine needs an NVIDIA GPU, and here {missing}; "
            "install the NVIDIA driver, or choose another runtime such as onnxruntime"
        ]
    if device >= len(driver.gpus):
        return [
            f"there is no GPU {device}, the driver shows {len(driver.gpus)} to this process, "
            "numbered from 0"
        ]
    gpu = driver.gpus[device]
    rtx = entry.backend == "tensorrt-rtx"
    required = _required_by_rtx(entry, gpu) if rtx else _required_by_tensorrt(entry, gpu)
    if required is None:
        return []
    remedy = _remedy(manifest, entry.backend)
    if rtx and gpu.sm not in RTX_COMPUTE_CAPABILITIES:
        # Building with TensorRT-RTX again does not help on a GPU that it has no kernels for.
        remedy = (
            f"TensorRT-RTX has none for SM {gpu.sm}, tensorrt has; {_remedy(manifest, 'tensorrt')}"
        )
    return [
        f"the {entry.backend} engine is for {required}, this GPU is {gpu.name} "
        f"(compute capability {gpu.compute_capability}); {remedy}"
    ]


def _required_by_tensorrt(entry: EngineEntry, gpu: Gpu) -> str | None:
    """Return the GPU that the engine is for, None if this one will do."""
    built = entry.device
    if built is None:
        return "a GPU that its manifest does not name"
    if entry.hardware_compatibility == "ampere-plus":
        fits = numbers_of(gpu.compute_capability) >= (8, 0)
        return None if fits else "Ampere and later (compute capability 8.0)"
    same = built.compute_capability == gpu.compute_capability
    if entry.hardware_compatibility == "same-compute-capability":
        return None if same else f"compute capability {built.compute_capability}"
    if same and built.name == gpu.name:
        return None
    return f"{built.name} (compute capability {built.compute_capability})"


def _required_by_rtx(entry: EngineEntry, gpu: Gpu) -> str | None:
    """Return the GPUs that the engine is for, None if this one is among them."""
    if gpu.sm in (entry.compute_capabilities or _PORTABLE):
        return None
    if entry.compute_capabilities:
        return f"SM {', '.join(entry.compute_capabilities)}"
    return f"Ampere and later as far as TensorRT-RTX supports it (SM {', '.join(_PORTABLE)})"


def _remedy(manifest: Manifest, backend: EngineBackend) -> str:
    command = f"motivnet build-engine ARTIFACT --backend {backend}"
    if manifest.kind == "engine":
        return f"build it here, from the artifact that holds the ONNX graph: {command}"
    return f"build it here: {command}"

"""The packages that runtimes and builders need: installed, really loadable, and if not, the line that repairs it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass, replace

from motivnet.artifact.manifest import EngineBackend
from motivnet.errors import MotivNetError
from motivnet.printable import one_line
from motivnet_engines.runtimes.tensorrt.api import (
    EXTRAS,
    MODULES,
    RTX_COMPUTE_CAPABILITIES,
    load_api,
)
from motivnet_engines.runtimes.tensorrt.versions import DISTRIBUTIONS, is_installed

_ADD_CPU = "pip install 'motivnet[cpu]'"
_ADD_GPU = "pip install 'motivnet[gpu]'"
_DRIVER_API = "the API of the CUDA driver"
_JETPACK = (
    "sudo apt-get install -y python3-libnvinfer && python3 -m venv --system-site-packages .venv"
)
"""On a Jetson TensorRT belongs to JetPack; a wheel of it does not run there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageStatus:
    """One package: its version (None if it is not installed), what it offers here, and the command that repairs it."""

    name: str
    version: str | None
    usable: bool
    detail: str
    repair: str | None


def package_statuses(*, devices: int, jetson: bool) -> tuple[PackageStatus, ...]:
    """Every package in a fixed order. ONNX Runtime, OpenVINO and both TensorRTs are really loaded.

    That a package is on the disk says little: the usual fault is a library that it needs and does
    not find. Loading both TensorRTs takes less than half a second; nothing of them touches the GPU
    until a builder is made.
    """
    return (
        _onnxruntime(devices),
        _status("openvino", distributions=("openvino",), repair=_ADD_CPU, detail=_openvino_detail),
        _tensorrt("tensorrt", repair=_JETPACK if jetson else _line("tensorrt")),
        _tensorrt("tensorrt-rtx", repair=_line("tensorrt-rtx")),
        *_memory_packages(),
    )


def version_of(distribution: str) -> str | None:
    """The installed version of a distribution, None without it."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _onnxruntime(devices: int) -> PackageStatus:
    """ONNX Runtime; its two distributions share one import name, and pip lets them overwrite each other."""
    distributions = ("onnxruntime-gpu", "onnxruntime")
    status = _status(
        "onnxruntime", distributions=distributions, repair=_ADD_CPU, detail=_onnxruntime_detail
    )
    if all(version_of(name) for name in distributions):
        repair = (
            f"pip uninstall -y {' '.join(distributions)} && {_ADD_GPU if devices else _ADD_CPU}"
        )
        return replace(
            status, detail=f"{' and '.join(distributions)} overwrite each other", repair=repair
        )
    if devices and status.usable and "CUDAExecutionProvider" not in status.detail:
        return replace(status, repair=f"pip uninstall -y onnxruntime && {_ADD_GPU}")
    return status


def _tensorrt(backend: EngineBackend, *, repair: str) -> PackageStatus:
    return _status(
        MODULES[backend],
        distributions=DISTRIBUTIONS[backend],
        repair=repair,
        detail=lambda: _tensorrt_detail(backend),
    )


def _memory_packages() -> tuple[PackageStatus, PackageStatus]:
    """Either is enough; a missing pycuda is a gap only to someone who wants it."""
    bindings = _status(
        "cuda.bindings",
        name="cuda-python",
        distributions=("cuda-bindings", "cuda-python"),
        repair=_line("tensorrt"),
        detail=lambda: _DRIVER_API,
    )
    pycuda = _status(
        "pycuda",
        distributions=("pycuda",),
        repair="pip install 'motivnet[pycuda]'",
        detail=lambda: _DRIVER_API,
    )
    pycuda = pycuda if pycuda.usable else replace(pycuda, repair=None)
    return (replace(bindings, repair=None) if pycuda.usable else bindings), pycuda


def _status(
    module: str,
    *,
    distributions: tuple[str, ...],
    repair: str,
    detail: Callable[[], str],
    name: str | None = None,
) -> PackageStatus:
    name = name or module
    if not is_installed(module):
        return PackageStatus(
            name=name, version=None, usable=False, detail="not installed", repair=repair
        )
    version = next(filter(None, map(version_of, distributions)), "unknown")
    try:
        return PackageStatus(name=name, version=version, usable=True, detail=detail(), repair=None)
    except (MotivNetError, OSError, RuntimeError) as error:
        reason = one_line(error)
        again = repair.replace("pip install", "pip install --force-reinstall")
        return PackageStatus(name=name, version=version, usable=False, detail=reason, repair=again)


def _onnxruntime_detail() -> str:
    from motivnet_engines.runtimes.onnxruntime_ import available_providers

    return ", ".join(available_providers())


def _openvino_detail() -> str:
    from motivnet_engines.runtimes.openvino_ import has_bf16

    return "FP32, BF16" if has_bf16() else "FP32"


def _tensorrt_detail(backend: EngineBackend) -> str:
    load_api(backend)
    if backend == "tensorrt-rtx":
        return f"compiles for SM {', '.join(RTX_COMPUTE_CAPABILITIES)}"
    return "compiles for the GPU of its machine"


def _line(backend: EngineBackend) -> str:
    return f"pip install 'motivnet[{EXTRAS[backend]}]'"

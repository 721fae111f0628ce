"""Packages of runtimes and builders: whether they can be loaded, and how to fix them if not."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from motivnet.dependencies import import_problem, is_installed, load_error
from motivnet.errors import BrokenDependencyError, MotivNetError
from motivnet.printable import one_line
from motivnet_engines.runtimes.tensorrt.api import (
    DISTRIBUTIONS,
    EXTRAS,
    MODULES,
    RTX_COMPUTE_CAPABILITIES,
    load_api,
)
from motivnet_engines.system.installed import version_of
from motivnet_engines.system.machine import JETPACK_TENSORRT

if TYPE_CHECKING:
    from motivnet.artifact.engine_entry import EngineBackend
    from motivnet_engines.system.machine import Jetson

REQUIRED = {"numpy": "numpy", "opencv": "cv2", "pillow": "PIL"}
"""What nothing runs without, and the names of the modules."""

_OPENCV = (
    "opencv-python-headless",
    "opencv-contrib-python-headless",
    "opencv-python",
    "opencv-contrib-python",
)
_ADD_CPU = "pip install 'motivnet[cpu]'"
_ADD_GPU = "pip install 'motivnet[gpu]'"
_DRIVER_API = "the API of the CUDA driver"
_JETSON_DRIVER_API = {"6": "pip install 'cuda-bindings<13'", None: "pip install cuda-bindings"}
"""By JetPack: its driver tells the CUDA version, and ``motivnet[trt]`` would bring the wheels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageStatus:
    """A package: its version (None if not installed), what it offers, the command to fix it."""

    name: str
    version: str | None
    usable: bool
    detail: str
    fix: str | None


def package_statuses(*, devices: int, jetson: Jetson | None) -> tuple[PackageStatus, ...]:
    """Return every package in a fixed order; each of them is loaded.

    A Jetson is told of nothing that has no wheel for it: ``onnxruntime-gpu``, and TensorRT-RTX,
    which does not compile for its GPU.

    The usual problem of an installed package is a missing library, which only loading finds.
    Loading both TensorRTs takes less than half a second and does not use the GPU.
    """
    return (
        *_required_packages(),
        _onnxruntime(0 if jetson else devices),
        _status("openvino", distributions=("openvino",), fix=_ADD_CPU, detail=_openvino_detail),
        _tensorrt("tensorrt", fix=JETPACK_TENSORRT if jetson else _line("tensorrt")),
        _tensorrt("tensorrt-rtx", fix=None if jetson else _line("tensorrt-rtx")),
        *_memory_packages(_driver_api_line(jetson)),
    )


def _required_packages() -> tuple[PackageStatus, ...]:
    return tuple(
        _status(
            module,
            name=name,
            distributions=_OPENCV if name == "opencv" else (name,),
            fix=f"pip install {_OPENCV[0] if name == 'opencv' else name}",
            detail=functools.partial(_required_detail, module),
        )
        for name, module in REQUIRED.items()
    )


def _required_detail(module: str) -> str:
    if error := load_error(module):
        raise error
    return "needed by every command"


def _onnxruntime(devices: int) -> PackageStatus:
    """Return ONNX Runtime; its two distributions overwrite each other's files without a warning."""
    distributions = ("onnxruntime-gpu", "onnxruntime")
    status = _status(
        "onnxruntime", distributions=distributions, fix=_ADD_CPU, detail=_onnxruntime_detail
    )
    if all(version_of(name) for name in distributions):
        fix = f"pip uninstall -y {' '.join(distributions)} && {_ADD_GPU if devices else _ADD_CPU}"
        return replace(
            status, detail=f"{' and '.join(distributions)} overwrite each other", fix=fix
        )
    if devices and status.usable and "CUDAExecutionProvider" not in status.detail:
        return replace(status, fix=f"pip uninstall -y onnxruntime && {_ADD_GPU}")
    return status


def _tensorrt(backend: EngineBackend, *, fix: str | None) -> PackageStatus:
    return _status(
        MODULES[backend],
        distributions=DISTRIBUTIONS[backend],
        fix=fix,
        detail=lambda: _tensorrt_detail(backend),
    )


def _driver_api_line(jetson: Jetson | None) -> str:
    if jetson is None:
        return _line("tensorrt")
    return _JETSON_DRIVER_API.get(jetson.jetpack, _JETSON_DRIVER_API[None])


def _memory_packages(fix: str) -> tuple[PackageStatus, PackageStatus]:
    """Return cuda-python and pycuda; one is enough, and pycuda is only for those who want it."""
    bindings = _status(
        "cuda.bindings",
        name="cuda-python",
        distributions=("cuda-bindings", "cuda-python"),
        fix=fix,
        detail=lambda: _DRIVER_API,
    )
    pycuda = _status(
        "pycuda",
        distributions=("pycuda",),
        fix="pip install 'motivnet[pycuda]'",
        detail=lambda: _DRIVER_API,
    )
    pycuda = pycuda if pycuda.usable else replace(pycuda, fix=None)
    return (replace(bindings, fix=None) if pycuda.usable else bindings), pycuda


def _status(
    module: str,
    *,
    distributions: tuple[str, ...],
    fix: str | None,
    detail: Callable[[], str],
    name: str | None = None,
) -> PackageStatus:
    name = name or module
    if not is_installed(module):
        return PackageStatus(name=name, version=None, usable=False, detail="not installed", fix=fix)
    version = next(filter(None, map(version_of, distributions)), "unknown")
    try:
        return PackageStatus(name=name, version=version, usable=True, detail=detail(), fix=None)
    except Exception as error:  # noqa: BLE001 - a package may raise anything
        reason, repair = _describe_failure(error, fix=fix)
        return PackageStatus(name=name, version=version, usable=False, detail=reason, fix=repair)


def _describe_failure(error: Exception, *, fix: str | None) -> tuple[str, str | None]:
    """Return why a package cannot be used, and the command that repairs it."""
    problem = error if isinstance(error, MotivNetError) else import_problem(error)
    if isinstance(problem, BrokenDependencyError):
        return f"{problem.package} cannot be loaded: {problem.reason}", problem.repair
    again = fix and fix.replace("pip install", "pip install --force-reinstall")
    return one_line(error), again


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

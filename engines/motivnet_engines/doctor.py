"""What this machine has and lacks for running artifacts, with the line that repairs each gap."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

from motivnet import __version__
from motivnet.errors import MotivNetError
from motivnet_engines.machine import Machine, read_machine
from motivnet_engines.nvidia import cuda_device_count

_ADD_CPU = "pip install 'motivnet[cpu]'"
_ADD_GPU = "pip install 'motivnet[gpu]'"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageStatus:
    """One package: its version (None if it is not installed), what it offers here, and the command that repairs it."""

    name: str
    version: str | None
    usable: bool
    detail: str
    repair: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The machine, this installation, and the packages that runtimes need.

    ``healthy`` when at least one package can run an artifact on the CPU.
    """

    motivnet: str
    python: str
    executable: str
    machine: Machine
    cuda_devices: int
    packages: tuple[PackageStatus, ...]
    healthy: bool


def diagnose() -> Diagnosis:
    """The state of this machine; ONNX Runtime and OpenVINO are really loaded."""
    devices = cuda_device_count()
    packages = (
        _onnxruntime(devices),
        _status("openvino", distributions=("openvino",), repair=_ADD_CPU, detail=_openvino_detail),
        *_nvidia_packages(devices),
    )
    return Diagnosis(
        motivnet=__version__,
        python=platform.python_version(),
        executable=sys.executable,
        machine=read_machine(),
        cuda_devices=devices,
        packages=packages,
        healthy=any(status.usable for status in packages[:2]),
    )


def _onnxruntime(devices: int) -> PackageStatus:
    """ONNX Runtime; its two distributions share one import name, and pip lets them overwrite each other."""
    distributions = ("onnxruntime-gpu", "onnxruntime")
    status = _status("onnxruntime", distributions=distributions, repair=_ADD_CPU, detail=_onnxruntime_detail)
    if all(_version_of(name) for name in distributions):
        repair = f"pip uninstall -y {' '.join(distributions)} && {_ADD_GPU if devices else _ADD_CPU}"
        return replace(status, detail=f"{' and '.join(distributions)} overwrite each other", repair=repair)
    if devices and status.usable and "CUDAExecutionProvider" not in status.detail:
        return replace(status, repair=f"pip uninstall -y onnxruntime && {_ADD_GPU}")
    return status


def _nvidia_packages(devices: int) -> tuple[PackageStatus, ...]:
    def detail() -> str:
        return f"CUDA devices: {devices}"

    trt, rtx = "pip install 'motivnet[trt]'", "pip install 'motivnet[rtx]'"
    return (
        _status("tensorrt", distributions=("tensorrt", "tensorrt-cu13", "tensorrt-cu12"), repair=trt, detail=detail),
        _status(
            "tensorrt_rtx",
            distributions=("tensorrt-rtx", "tensorrt-rtx-cu13", "tensorrt-rtx-cu12"),
            repair=rtx,
            detail=detail,
        ),
        _status(
            "cuda.bindings",
            name="cuda-python",
            distributions=("cuda-python", "cuda-bindings"),
            repair=trt,
            detail=detail,
        ),
    )


def _status(
    module: str, *, distributions: tuple[str, ...], repair: str, detail: Callable[[], str], name: str | None = None
) -> PackageStatus:
    name = name or module
    if not _is_installed(module):
        return PackageStatus(name=name, version=None, usable=False, detail="not installed", repair=repair)
    version = next(filter(None, map(_version_of, distributions)), "unknown")
    try:
        return PackageStatus(name=name, version=version, usable=True, detail=detail(), repair=None)
    except (MotivNetError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        again = repair.replace("pip install", "pip install --force-reinstall")
        return PackageStatus(name=name, version=version, usable=False, detail=reason, repair=again)


def _onnxruntime_detail() -> str:
    from motivnet_engines.ort import available_providers

    return ", ".join(available_providers())


def _openvino_detail() -> str:
    from motivnet_engines.openvino import has_bf16

    return "FP32, BF16" if has_bf16() else "FP32"


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package around it is missing
        return False


def _version_of(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None

"""The NVIDIA driver and its GPUs, read from ``libcuda`` without any CUDA package."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motivnet.processors import read_text

_LIBRARY = "libcuda.so.1"
_MODULE_VERSION = Path("/sys/module/nvidia/version")
_PROC_VERSION = Path("/proc/driver/nvidia/version")
_PCI_DEVICES = Path("/sys/bus/pci/devices")

_CAPABILITY_MAJOR = 75
_CAPABILITY_MINOR = 76
"""``CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*`` of cuda.h, which are part of the driver's ABI."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU that this process may use; ``memory`` is in bytes, a capability such as ``8.6``."""

    name: str
    compute_capability: str
    memory: int

    @property
    def sm(self) -> str:
        """The compute capability without the point, such as ``86``."""
        return self.compute_capability.replace(".", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class NvidiaDriver:
    """The driver; fields are None if there is none.

    ``version`` is that of the kernel module, ``cuda`` the newest CUDA that it runs, such as
    ``13.0``. ``missing_requirement`` tells why no GPU can be used, None if one can. ``unused_gpu``
    tells whether an NVIDIA GPU is on the bus that the driver does not show.
    """

    version: str | None
    cuda: str | None
    gpus: tuple[Gpu, ...]
    missing_requirement: str | None
    unused_gpu: bool

    @property
    def cuda_major(self) -> int | None:
        """The major version of ``cuda``."""
        return int(self.cuda.partition(".")[0]) if self.cuda else None


def cuda_device_count() -> int:
    """Return the number of CUDA devices that this process may use; 0 without a driver."""
    library = _library()
    if library is None:
        return 0
    count = ctypes.c_int(0)
    if library.cuInit(0) != 0 or library.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def read_driver() -> NvidiaDriver:
    """Return the driver and its GPUs, without allocating memory or creating a context."""
    library = _library()
    gpus: tuple[Gpu, ...] = ()
    missing: str | None = f"there is no {_LIBRARY}"
    cuda = None
    if library is not None:
        gpus, missing = _gpus(library)
        if number := _integer(library.cuDriverGetVersion):  # 13000, even if cuInit fails
            cuda = f"{number // 1000}.{number % 1000 // 10}"
    return NvidiaDriver(
        version=driver_version(read_text(_MODULE_VERSION) or read_text(_PROC_VERSION)),
        cuda=cuda,
        gpus=gpus,
        missing_requirement=missing,
        unused_gpu=not gpus and _has_gpu_on_bus(),
    )


def driver_version(text: str) -> str | None:
    """Return the version in a text of the kernel, alone or after the name of the module."""
    match = re.search(r"(?:^|\s)(\d+\.\d+(?:\.\d+)?)(?=\s|$)", text)
    return match[1] if match else None


def _library() -> Any:
    try:
        return ctypes.CDLL(_LIBRARY)
    except OSError:
        return None


def _gpus(library: Any) -> tuple[tuple[Gpu, ...], str | None]:
    """Return the GPUs, or why there are none."""
    if status := library.cuInit(0):
        return (), f"the driver does not start: {_error_name(library, status)}"
    count = _integer(library.cuDeviceGetCount)
    gpus = tuple(gpu for index in range(count or 0) if (gpu := _gpu(library, index)) is not None)
    return gpus, None if gpus else "the driver shows no GPU to this process"


def _gpu(library: Any, index: int) -> Gpu | None:
    device, name, memory = ctypes.c_int(0), ctypes.create_string_buffer(256), ctypes.c_size_t(0)
    failed = (
        library.cuDeviceGet(ctypes.byref(device), index)
        or library.cuDeviceGetName(name, len(name), device)
        or library.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    )
    major = _integer(library.cuDeviceGetAttribute, _CAPABILITY_MAJOR, device)
    minor = _integer(library.cuDeviceGetAttribute, _CAPABILITY_MINOR, device)
    if failed or major is None or minor is None:
        return None
    return Gpu(
        name=name.value.decode(errors="replace"),
        compute_capability=f"{major}.{minor}",
        memory=memory.value,
    )


def _integer(function: Callable[..., int], *arguments: Any) -> int | None:
    """Return the number that a function writes to its first argument; None if it fails."""
    value = ctypes.c_int(0)
    return None if function(ctypes.byref(value), *arguments) else value.value


def _error_name(library: Any, status: int) -> str:
    name = ctypes.c_char_p()
    if library.cuGetErrorName(status, ctypes.byref(name)) or name.value is None:
        return f"error {status}"
    return name.value.decode()


def _has_gpu_on_bus() -> bool:
    devices = _PCI_DEVICES.iterdir() if _PCI_DEVICES.is_dir() else ()
    return any(
        read_text(device / "vendor").strip() == "0x10de"  # NVIDIA
        and read_text(device / "class").strip().startswith("0x03")  # a display controller
        for device in devices
    )

"""What the NVIDIA driver of this machine says, asked of ``libcuda`` itself without any CUDA package."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motivnet_engines.system.procfs import text_of

_LIBRARY = "libcuda.so.1"
_MODULE_VERSION = Path("/sys/module/nvidia/version")
_PROC_VERSION = Path("/proc/driver/nvidia/version")
_PCI_DEVICES = Path("/sys/bus/pci/devices")
_NVIDIA_VENDOR = "0x10de"
_DISPLAY_CLASS = "0x03"

_CAPABILITY_MAJOR = 75
_CAPABILITY_MINOR = 76
"""``CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*`` of cuda.h: the ABI of the driver, which never renumbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU that this process may use: its name, compute capability such as ``8.6``, and memory in bytes."""

    name: str
    compute_capability: str
    memory: int

    @property
    def sm(self) -> str:
        """``86`` of ``8.6``."""
        return self.compute_capability.replace(".", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class NvidiaDriver:
    """The driver, as far as there is one.

    ``version`` is the kernel module's, ``cuda`` the newest CUDA that it runs, such as ``13.0``.
    ``obstacle`` says why no GPU can be used, None where one can. ``unused_gpu`` tells of an NVIDIA
    GPU on the bus that the driver does not show.
    """

    version: str | None
    cuda: str | None
    gpus: tuple[Gpu, ...]
    obstacle: str | None
    unused_gpu: bool

    @property
    def cuda_major(self) -> int | None:
        """``13`` of ``13.0``."""
        return int(self.cuda.partition(".")[0]) if self.cuda else None


def cuda_device_count() -> int:
    """The number of CUDA devices that this process may use; 0 without a driver."""
    library = _library()
    if library is None:
        return 0
    count = ctypes.c_int(0)
    if library.cuInit(0) != 0 or library.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def read_driver() -> NvidiaDriver:
    """The driver and its GPUs; nothing is allocated and no context is made."""
    library = _library()
    gpus, obstacle = ((), f"there is no {_LIBRARY}") if library is None else _gpus(library)
    return NvidiaDriver(
        version=driver_version(text_of(_MODULE_VERSION) or text_of(_PROC_VERSION)),
        cuda=None if library is None else _cuda_version(library),
        gpus=gpus,
        obstacle=obstacle,
        unused_gpu=not gpus and _has_gpu_on_bus(),
    )


def driver_version(text: str) -> str | None:
    """The version in the kernel's text: a line with nothing else, or with the module's name in front."""
    match = re.search(r"(?:^|\s)(\d+\.\d+(?:\.\d+)?)(?=\s|$)", text)
    return match[1] if match else None


def _library() -> Any:
    try:
        return ctypes.CDLL(_LIBRARY)
    except OSError:
        return None


def _gpus(library: Any) -> tuple[tuple[Gpu, ...], str | None]:
    """The GPUs, or why there are none."""
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


def _cuda_version(library: Any) -> str | None:
    """Such as ``13.0``; the driver gives it as 13000, and without ``cuInit``."""
    number = _integer(library.cuDriverGetVersion)
    return f"{number // 1000}.{number % 1000 // 10}" if number else None


def _integer(function: Callable[..., int], *arguments: Any) -> int | None:
    """The number that a function of the driver writes to its first argument, None if it fails."""
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
        text_of(device / "vendor").strip() == _NVIDIA_VENDOR
        and text_of(device / "class").strip().startswith(_DISPLAY_CLASS)
        for device in devices
    )

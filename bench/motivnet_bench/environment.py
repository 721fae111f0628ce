"""The machine and the software that figures depend on; nothing that tells whose machine it is."""

from __future__ import annotations

import math
import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from motivnet import __version__
from motivnet.errors import MissingDependencyError
from motivnet_engines.system.nvidia import NvidiaDriver, read_driver

try:
    import psutil
except ImportError as error:
    raise MissingDependencyError("psutil", extra="bench") from error

INSTRUCTIONS = (
    "avx2",
    "f16c",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_bf16",
    "amx_fp16",
    "asimd",
    "asimdhp",
    "bf16",
)
"""The processor's flags that decide how fast FP32, FP16 and BF16 arithmetic is, on x86 and on Arm."""

PACKAGES = (
    "torch",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "tensorrt",
    "tensorrt-rtx",
    "numpy",
)
_CPU = Path("/sys/devices/system/cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where figures were taken; ``memory`` is in bytes, ``load_average`` that of the last minute at
    the start.

    ``gpus`` names the GPUs with their memory, ``driver`` NVIDIA's with its CUDA; without a GPU both
    are empty.
    """

    processor: str
    instructions: tuple[str, ...]
    physical_cores: int
    memory: int
    system: str
    python: str
    versions: dict[str, str]
    load_average: float
    governor: str | None
    gpus: tuple[str, ...] = ()
    driver: str | None = None


def read_environment() -> Environment:
    """The environment of this process, now."""
    processor, flags = _processor(Path("/proc/cpuinfo"))
    nvidia = read_driver()
    return Environment(
        processor=processor,
        instructions=tuple(name for name in INSTRUCTIONS if name in flags),
        physical_cores=available_cores(),
        memory=int(psutil.virtual_memory().total),
        system=_system(),
        python=platform.python_version(),
        versions=_versions(),
        load_average=round(os.getloadavg()[0], 2),
        governor=_text(_CPU / "cpu0/cpufreq/scaling_governor"),
        gpus=tuple(f"{gpu.name}, SM {gpu.sm}, {gpu.memory / 2**30:.1f} GiB" for gpu in nvidia.gpus),
        driver=_driver(nvidia),
    )


def available_cores() -> int:
    """Physical cores that this process may use: its affinity without hyper-threads, within its cgroup's quota."""
    allowed = os.sched_getaffinity(0)
    cores = {
        _text(_CPU / f"cpu{index}/topology/thread_siblings_list") or str(index) for index in allowed
    }
    return max(1, min(len(cores), _quota(_text(Path("/sys/fs/cgroup/cpu.max")))))


def _driver(nvidia: NvidiaDriver) -> str | None:
    """Such as ``580.159.04, CUDA 13.0``; None where no GPU can be used."""
    if not nvidia.gpus:
        return None
    return (
        ", ".join(text for text in (nvidia.version, nvidia.cuda and f"CUDA {nvidia.cuda}") if text)
        or None
    )


def _quota(text: str | None) -> int:
    """Whole processors that a ``cpu.max`` such as ``150000 100000`` grants; very many where it sets no limit."""
    quota, _, period = (text or "max").partition(" ")
    return 1 << 16 if quota == "max" else max(1, math.floor(int(quota) / int(period)))


def _processor(cpuinfo: Path) -> tuple[str, frozenset[str]]:
    """The model's name and the flags of the first processor."""
    fields: dict[str, str] = {}
    for line in (_text(cpuinfo) or "").splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    name = fields.get("model name") or platform.processor() or platform.machine()
    return name, frozenset((fields.get("flags") or fields.get("Features") or "").split())


def _system() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        name = platform.system()
    return f"{name}, kernel {platform.release()}, {platform.machine()}"


def _versions() -> dict[str, str]:
    found = {"motivnet": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None

"""This machine: its processor, memory and Jetson board, from small files of the kernel."""

from __future__ import annotations

import os
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from motivnet.processors import core_quota, count_physical_cores, read_text, usable_cores

BF16_INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "avx_ne_convert", "bf16", "svebf16")
"""The kernel's names: AMX, AVX-512 and AVX on x86-64; NEON and SVE on Arm."""

INT8_INSTRUCTIONS = ("amx_int8", "avx512_vnni", "avx_vnni", "i8mm", "asimddp")
"""The kernel's names: AMX and VNNI on x86-64; matrix and dot products on Arm."""

HALF_INSTRUCTIONS = {
    "bfloat16": BF16_INSTRUCTIONS,
    "float16": ("amx_fp16", "avx512_fp16", "asimdhp"),
}
"""Any of these computes in a half-precision dtype; without them it is emulated, far slower."""

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")

_JETPACK = {"32": "4", "34": "5", "35": "5", "36": "6", "38": "7", "39": "7"}
"""Major version of JetPack by that of L4T."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """The name of the model and its instruction flags, by the kernel's names."""

    name: str
    flags: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The resources that this process may use; memory is in bytes, None if unknown.

    ``cores`` are logical, ``physical_cores`` without hyper-threads and within ``core_limit``, which
    is the container's quota; ``memory_limit`` is that of cgroup version 2. None without one.
    """

    processor: str
    architecture: str
    cores: int
    physical_cores: int
    core_limit: float | None
    bf16_instructions: tuple[str, ...]
    int8_instructions: tuple[str, ...]
    memory_total: int | None
    memory_available: int | None
    memory_limit: int | None


def read_machine() -> Machine:
    """Return this machine, as the kernel describes it."""
    processor, meminfo = read_processor(), read_text(_MEMINFO)
    return Machine(
        processor=processor.name,
        architecture=platform.machine(),
        cores=len(usable_cores()),
        physical_cores=count_physical_cores(),
        core_limit=core_quota(),
        bf16_instructions=tuple(name for name in BF16_INSTRUCTIONS if name in processor.flags),
        int8_instructions=tuple(name for name in INT8_INSTRUCTIONS if name in processor.flags),
        memory_total=memory_from_meminfo(meminfo, "MemTotal") or _physical_memory(),
        memory_available=memory_from_meminfo(meminfo, "MemAvailable"),
        memory_limit=memory_limit_from_cgroup(read_text(_CGROUP / "memory.max")),
    )


def read_processor() -> Processor:
    """Return the first processor of this machine."""
    return processor_from_cpuinfo(read_text(Path("/proc/cpuinfo")))


def processor_from_cpuinfo(text: str) -> Processor:
    """Return the processor in the text of ``/proc/cpuinfo``, of x86-64 or Arm."""
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return Processor(
        name=name[1].strip() if name else platform.processor() or platform.machine() or "unknown",
        flags=frozenset(flags[1].split()) if flags else frozenset(),
    )


def computes_natively(dtype: str) -> bool:
    """Return whether this processor has instructions for a half-precision dtype.

    Without them PyTorch converts to FP32 and back, which is several times slower than FP32. A
    processor whose instructions the system does not list, as on macOS, counts as one that has them.
    """
    flags = read_processor().flags
    return not flags or not flags.isdisjoint(HALF_INSTRUCTIONS[dtype])


def multiplies_int8() -> bool:
    """Return whether this processor has instructions that multiply INT8 and add in INT32.

    Without them OpenVINO widens the numbers first, and INT8 is as fast as FP32. A processor whose
    instructions the system does not list, as on macOS, counts as one that has them.
    """
    flags = read_processor().flags
    return not flags or not flags.isdisjoint(INT8_INSTRUCTIONS)


def memory_limit_from_cgroup(text: str) -> int | None:
    """Return the bytes in ``memory.max``; None without a limit."""
    return int(text) if text.strip().isdigit() else None


def process_status() -> str:
    """Return the kernel's status of this process, in the format of ``/proc/meminfo``."""
    return read_text(Path("/proc/self/status"))


def process_memory() -> tuple[int | None, int]:
    """Return the bytes of this process in memory, None if unknown, and the most there were."""
    status = process_status()
    resident, peak = (memory_from_meminfo(status, name) for name in ("VmRSS", "VmHWM"))
    if peak is None:
        unit = 1 if sys.platform == "darwin" else 1024
        import resource  # Windows has none, and is told so by the commands

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return resident, peak


def _physical_memory() -> int | None:
    """Return the bytes of memory as POSIX names them; None if the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def memory_from_meminfo(text: str, key: str) -> int | None:
    """Return the bytes of a line of ``/proc/meminfo`` or of a status, such as ``MemTotal``."""
    match = re.search(rf"^{key}:\s*(\d+) kB$", text, re.MULTILINE)
    return int(match[1]) * 1024 if match else None


JETPACK_TENSORRT = (
    "sudo apt-get install -y python3-libnvinfer && python3 -m venv --system-site-packages .venv"
)
"""On a Jetson TensorRT is a part of JetPack; its wheels do not run there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Jetson:
    """A board's name, its Linux for Tegra such as ``36.4.3``, and JetPack's major version."""

    model: str
    l4t: str
    jetpack: str | None


def read_jetson() -> Jetson | None:
    """Return this Jetson; None on any other machine."""
    return jetson_from_texts(
        read_text(Path("/etc/nv_tegra_release")), read_text(Path("/proc/device-tree/model"))
    )


def jetson_from_texts(release: str, model: str) -> Jetson | None:
    """Return the Jetson in the texts of ``/etc/nv_tegra_release`` and the device tree's model."""
    match = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", release)
    if match is None:
        return None
    return Jetson(
        model=model.strip("\0\n ") or "a Jetson",
        l4t=f"{match[1]}.{match[2]}",
        jetpack=_JETPACK.get(match[1]),
    )

"""The processor and the memory of this machine, as far as the speed of a model depends on them."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from motivnet_engines.system.procfs import text_of

BF16_INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "avx_ne_convert", "bf16", "svebf16")
"""The kernel's names: AMX, AVX-512 and AVX on x86-64; NEON and SVE on Arm."""

_CPUINFO = Path("/proc/cpuinfo")
_MEMINFO = Path("/proc/meminfo")
_STATUS = Path("/proc/self/status")
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """``cores`` are the logical ones that this process may use; memory is in bytes, None where
    unknown.

    ``memory_limit`` and ``core_limit`` are a container's (cgroup version 2), None without one.
    """

    processor: str
    architecture: str
    cores: int
    core_limit: float | None
    bf16_instructions: tuple[str, ...]
    memory_total: int | None
    memory_available: int | None
    memory_limit: int | None


def read_machine() -> Machine:
    """This machine, from what the kernel says."""
    cpuinfo, meminfo = text_of(_CPUINFO), text_of(_MEMINFO)
    name = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return Machine(
        processor=name[1].strip() if name else platform.processor() or "unknown",
        architecture=platform.machine(),
        cores=_usable_cores(),
        core_limit=core_limit_from_cgroup(text_of(_CGROUP / "cpu.max")),
        bf16_instructions=bf16_from_cpuinfo(cpuinfo),
        memory_total=memory_from_meminfo(meminfo, "MemTotal"),
        memory_available=memory_from_meminfo(meminfo, "MemAvailable"),
        memory_limit=memory_limit_from_cgroup(text_of(_CGROUP / "memory.max")),
    )


def process_status() -> str:
    """What the kernel says of this process, in the form of ``/proc/meminfo``."""
    return text_of(_STATUS)


def bf16_from_cpuinfo(text: str) -> tuple[str, ...]:
    """The BF16 instruction sets in the text of ``/proc/cpuinfo``, x86-64's or Arm's."""
    line = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    flags = set(line[1].split()) if line else set()
    return tuple(name for name in BF16_INSTRUCTIONS if name in flags)


def core_limit_from_cgroup(text: str) -> float | None:
    """Cores in the text of ``cpu.max`` (quota and period in microseconds); None without a quota."""
    match = re.fullmatch(r"(\d+) ([1-9]\d*)", text.strip())
    return int(match[1]) / int(match[2]) if match else None


def memory_limit_from_cgroup(text: str) -> int | None:
    """Bytes in the text of ``memory.max``; None without a limit."""
    return int(text) if text.strip().isdigit() else None


def memory_from_meminfo(text: str, key: str) -> int | None:
    """Bytes of one line of ``/proc/meminfo`` or of a process's status, such as ``MemTotal``; None where missing."""
    match = re.search(rf"^{key}:\s*(\d+) kB$", text, re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

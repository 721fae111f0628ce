"""What a result depends on: the machine, its software, and the command line.

A report is passed on, so nothing here tells whose machine it was or where its files are.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motivnet import __version__
from motivnet.processors import read_text
from motivnet.schema import Schema
from motivnet_engines.system.installed import installed_versions
from motivnet_engines.system.machine import read_machine, read_processor
from motivnet_engines.system.nvidia import NvidiaDriver, read_driver

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

INSTRUCTIONS = (
    *("avx2", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_bf16", "amx_fp16"),
    *("asimd", "asimdhp", "bf16"),
)
"""Processor flags that decide the speed of FP32, FP16 and BF16 arithmetic, on x86 and on Arm."""

PACKAGES = (
    *("torch", "onnxruntime", "onnxruntime-gpu", "openvino"),
    *("tensorrt", "tensorrt-rtx", "numpy"),
)

_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_REPEATED = {"runtimes": "runtime", "baselines": "baseline", "tests": "test"}
"""Fields of options that the command line takes one value at a time."""


class Environment(Schema, frozen=True, kw_only=True):
    """The machine of a run.

    ``memory`` is in bytes, ``load_average`` that of the minute before the run. ``gpus`` names the
    GPUs with their memory, ``driver`` NVIDIA's driver with its CUDA; both are empty without a GPU.
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

    @property
    def busy(self) -> bool:
        """Whether other processes took more than half of the cores when the run began."""
        return self.load_average > 0.5 * self.physical_cores


def read_environment() -> Environment:
    """Return the environment of this process."""
    processor, machine, nvidia = read_processor(), read_machine(), read_driver()
    return Environment(
        processor=processor.name,
        instructions=tuple(name for name in INSTRUCTIONS if name in processor.flags),
        physical_cores=machine.physical_cores,
        memory=machine.memory_total or 0,
        system=_system(),
        python=platform.python_version(),
        versions={"motivnet": __version__, **installed_versions(PACKAGES)},
        load_average=round(os.getloadavg()[0], 2),
        governor=read_text(_GOVERNOR).strip() or None,
        gpus=tuple(f"{gpu.name}, SM {gpu.sm}, {gpu.memory / 2**30:.1f} GiB" for gpu in nvidia.gpus),
        driver=_driver(nvidia),
    )


def command_line(command: str, target: Sequence[str | Path], options: DataclassInstance) -> str:
    """Return the ``motivnet-bench`` command that repeats a run.

    Args:
        command: Its subcommand.
        target: The words that name what is measured.
        options: Written out where they are not at their default.
    """
    words = ["motivnet-bench", command, *map(_word, target)]
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        option = f"--{_REPEATED.get(field.name, field.name).replace('_', '-')}"
        if value is True:
            words.append(option)
        elif value != field.default:
            for each in value if isinstance(value, tuple) else (value,):
                words += [option, _word(each)]
    return shlex.join(words)


def _word(value: Any) -> str:
    """Return a path below the working directory relative to it, and any other by its name alone."""
    if not isinstance(value, Path):
        return str(value)
    absolute, here = value.absolute(), Path.cwd()
    if absolute.is_relative_to(here) and absolute != here:
        return str(absolute.relative_to(here))
    return absolute.name


def _driver(nvidia: NvidiaDriver) -> str | None:
    """Return such as ``580.159.04, CUDA 13.0``; None if no GPU can be used."""
    if not nvidia.gpus:
        return None
    parts = (nvidia.version, nvidia.cuda and f"CUDA {nvidia.cuda}")
    return ", ".join(part for part in parts if part) or None


def _system() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        name = platform.system()
    return f"{name}, kernel {platform.release()}, {platform.machine()}"

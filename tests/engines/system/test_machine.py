"""What is read from the kernel's own words about the machine."""

from __future__ import annotations

import ctypes
from pathlib import Path
from types import SimpleNamespace

import pytest

from motivnet_engines.system.machine import (
    bf16_from_cpuinfo,
    core_limit_from_cgroup,
    memory_limit_from_cgroup,
    read_machine,
)
from motivnet_engines.system.nvidia import cuda_device_count


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 amx_bf16 amx_tile\n", ("amx_bf16", "avx512_bf16")),
        ("processor\t: 0\nFeatures\t: fp asimd bf16 svebf16\n", ("bf16", "svebf16")),
        ("flags\t\t: fpu avx2 avx512f\nbugs\t\t: amx_bf16\n", ()),
        ("", ()),
    ],
)
def test_bf16_instructions_are_found_by_their_names(text: str, expected: tuple[str, ...]) -> None:
    assert bf16_from_cpuinfo(text) == expected


@pytest.mark.parametrize(
    ("text", "cores"),
    [("150000 100000\n", 1.5), ("max 100000\n", None), ("", None), ("100000 0", None)],
)
def test_a_containers_share_of_the_cores(text: str, cores: float | None) -> None:
    assert core_limit_from_cgroup(text) == cores


@pytest.mark.parametrize(
    ("text", "limit"), [("1073741824\n", 1 << 30), ("max\n", None), ("", None)]
)
def test_a_containers_share_of_the_memory(text: str, limit: int | None) -> None:
    assert memory_limit_from_cgroup(text) == limit


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="needs Linux")
def test_this_machine_is_described() -> None:
    machine = read_machine()
    assert machine.processor
    assert machine.cores >= 1
    assert machine.memory_total is not None
    assert machine.memory_available is not None
    assert machine.memory_total > machine.memory_available > 0


class Driver(SimpleNamespace):
    """A CUDA driver that starts, or not, and counts the devices it is told to have."""

    def __init__(self, *, started: int, devices: int) -> None:
        def count(reference) -> int:
            reference._obj.value = devices
            return 0

        super().__init__(cuInit=lambda flags: started if flags == 0 else 1, cuDeviceGetCount=count)


@pytest.mark.parametrize(("started", "devices", "expected"), [(0, 2, 2), (0, 0, 0), (100, 2, 0)])
def test_devices_are_those_that_the_driver_counts(
    started: int, devices: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver(started=started, devices=devices))
    assert cuda_device_count() == expected


def test_without_a_driver_there_is_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert cuda_device_count() == 0

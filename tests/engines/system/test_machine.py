"""The machine, as the kernel's files describe it."""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path
from types import SimpleNamespace

import pytest

from motivnet_engines.system.machine import (
    BF16_INSTRUCTIONS,
    Jetson,
    jetson_from_texts,
    memory_limit_from_cgroup,
    processor_from_cpuinfo,
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
    flags = processor_from_cpuinfo(text).flags
    assert tuple(name for name in BF16_INSTRUCTIONS if name in flags) == expected


def test_the_processor_is_named_by_the_kernel_else_by_python() -> None:
    assert (
        processor_from_cpuinfo("model name\t: A CPU @ 2 GHz\nmodel name: B\n").name
        == "A CPU @ 2 GHz"
    )
    assert processor_from_cpuinfo("").name in (platform.processor(), platform.machine())


@pytest.mark.parametrize(
    ("text", "limit"), [("1073741824\n", 1 << 30), ("max\n", None), ("", None)]
)
def test_a_containers_share_of_the_memory(text: str, limit: int | None) -> None:
    assert memory_limit_from_cgroup(text) == limit


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="needs Linux")
def test_this_machine_is_described() -> None:
    found = read_machine()
    assert found.processor
    assert found.cores >= 1
    assert found.memory_total is not None
    assert found.memory_available is not None
    assert found.memory_total > found.memory_available > 0


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


@pytest.mark.parametrize(
    ("release", "l4t", "jetpack"),
    [
        (
            "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n",
            "36.4.3",
            "6",
        ),
        (
            "# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI: aarch64\n",
            "35.4.1",
            "5",
        ),
        ("# R77 (release), REVISION: 1.0, GCID: 1\n", "77.1.0", None),
    ],
)
def test_a_jetson_is_told_by_its_release_file(release: str, l4t: str, jetpack: str | None) -> None:
    model = "NVIDIA Jetson AGX Orin Developer Kit\0"
    expected = Jetson(model="NVIDIA Jetson AGX Orin Developer Kit", l4t=l4t, jetpack=jetpack)
    assert jetson_from_texts(release, model) == expected


def test_another_machine_is_no_jetson() -> None:
    assert jetson_from_texts("", "Raspberry Pi 5") is None

"""The NVIDIA driver as libcuda tells it: a small library in its place, and what the kernel says beside it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from motivnet_engines.system import nvidia
from motivnet_engines.system.jetson import Jetson, jetson_from_texts
from motivnet_engines.system.nvidia import NvidiaDriver, driver_version, read_driver

LIBRARY = r"""
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
static int number(const char *name) { return getenv(name) ? atoi(getenv(name)) : 0; }
int cuInit(unsigned flags) { return flags ? 1 : number("FAKE_INIT"); }
int cuDriverGetVersion(int *version) { *version = 12040; return 0; }
int cuDeviceGetCount(int *count) { *count = number("FAKE_GPUS"); return 0; }
int cuDeviceGet(int *device, int index) { *device = 10 + index; return 0; }
int cuDeviceGetName(char *name, int size, int device) { snprintf(name, size, "GPU of %d", device); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)device << 30; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? (device == 10 ? 8 : 12) : attribute == 76 ? (device == 10 ? 6 : 0) : -1;
    return 0;
}
int cuGetErrorName(int status, const char **name) {
    *name = "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH";
    return status == 803 ? 0 : 1;
}
"""

PROGRAM = """
import dataclasses, json
from motivnet_engines.system.nvidia import cuda_device_count, read_driver
print(json.dumps({"count": cuda_device_count(), **dataclasses.asdict(read_driver())}))
"""

Asked = Callable[..., dict[str, object]]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """A function that gives what a process reads from a driver with these answers."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc, which compiles the library that stands for the driver")
    folder = tmp_path_factory.mktemp("driver")
    (folder / "driver.c").write_text(LIBRARY)
    command = [
        "gcc",
        "-shared",
        "-fPIC",
        "-o",
        str(folder / "libcuda.so.1"),
        str(folder / "driver.c"),
    ]
    subprocess.run(command, check=True, capture_output=True)

    def ask(**answers: int) -> dict[str, object]:
        named = {f"FAKE_{name.upper()}": str(value) for name, value in answers.items()}
        environment = {**os.environ, "LD_LIBRARY_PATH": str(folder), **named}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return ask


def test_every_gpu_is_read_with_its_compute_capability_and_memory(asked: Asked) -> None:
    found = asked(gpus=2)
    assert found["count"] == 2
    assert found["cuda"] == "12.4"
    assert found["obstacle"] is None
    assert found["gpus"] == [
        {"name": "GPU of 10", "compute_capability": "8.6", "memory": 10 << 30},
        {"name": "GPU of 11", "compute_capability": "12.0", "memory": 11 << 30},
    ]


def test_a_driver_that_does_not_start_says_why_and_still_has_its_cuda_version(asked: Asked) -> None:
    found = asked(gpus=1, init=803)
    assert (found["count"], found["gpus"], found["cuda"]) == (0, [], "12.4")
    assert found["obstacle"] == "the driver does not start: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"
    assert asked(gpus=1, init=7)["obstacle"] == "the driver does not start: error 7"


def test_a_driver_without_a_gpu_says_so(asked: Asked) -> None:
    assert asked(gpus=0)["obstacle"] == "the driver shows no GPU to this process"


def test_without_a_driver_nothing_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(nvidia, "_LIBRARY", "libcuda-that-is-nowhere.so.1")
    monkeypatch.setattr(nvidia, "_PCI_DEVICES", tmp_path / "missing")
    for name in ("_MODULE_VERSION", "_PROC_VERSION"):
        monkeypatch.setattr(nvidia, name, tmp_path / "missing")
    assert read_driver() == NvidiaDriver(
        version=None,
        cuda=None,
        gpus=(),
        obstacle="there is no libcuda-that-is-nowhere.so.1",
        unused_gpu=False,
    )


@pytest.mark.parametrize(
    ("vendor", "kind", "unused"),
    [("0x10de", "0x030000", True), ("0x10de", "0x040300", False), ("0x8086", "0x030000", False)],
)
def test_a_gpu_on_the_bus_without_a_driver_is_noticed(
    vendor: str, kind: str, unused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path / "0000:01:00.0"
    device.mkdir()
    (device / "vendor").write_text(f"{vendor}\n")
    (device / "class").write_text(f"{kind}\n")
    monkeypatch.setattr(nvidia, "_LIBRARY", "libcuda-that-is-nowhere.so.1")
    monkeypatch.setattr(nvidia, "_PCI_DEVICES", tmp_path)
    assert read_driver().unused_gpu is unused


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("580.95.05\n", "580.95.05"),
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 01:44:30 UTC 2024\n",
            "550.54.14",
        ),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build\n",
            "540.4.0",
        ),
        ("", None),
    ],
)
def test_the_drivers_version_is_that_of_its_kernel_module(text: str, version: str | None) -> None:
    assert driver_version(text) == version


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

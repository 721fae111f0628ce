"""The NVIDIA driver: a small library in its place, and the kernel's files."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from motivnet_engines.system import nvidia
from motivnet_engines.system.nvidia import (
    Gpu,
    NvidiaDriver,
    cuda_device_count,
    driver_version,
    read_driver,
)

LIBRARY = r"""
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
static int number(const char *name) { return getenv(name) ? atoi(getenv(name)) : 0; }
int cuInit(unsigned flags) { return flags ? 1 : number("FAKE_INIT"); }
int cuDriverGetVersion(int *version) { *version = 12040; return 0; }
int cuDeviceGetCount(int *count) { *count = number("FAKE_GPUS"); return 0; }
int cuDeviceGet(int *device, int index) { *device = 10 + index; return 0; }
int cuDeviceGetName(char *name, int size, int device) {
    snprintf(name, size, "GPU of %d", device);
    return 0;
}
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)device << 30; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = -1;
    if (attribute == 75) *value = device == 10 ? 8 : 12;
    if (attribute == 76) *value = device == 10 ? 6 : 0;
    return 0;
}
int cuGetErrorName(int status, const char **name) {
    *name = "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH";
    return status == 803 ? 0 : 1;
}
"""

Answers = Callable[..., None]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small library in the place of the driver's, whose answers are in environment variables."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc to compile the library")
    source = tmp_path_factory.mktemp("driver") / "driver.c"
    source.write_text(LIBRARY)
    library = source.with_name("libcuda.so.1")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    return library


@pytest.fixture
def answers(library: Path, monkeypatch: pytest.MonkeyPatch) -> Answers:
    """A function that sets the answers of the driver."""
    monkeypatch.setattr(nvidia, "_LIBRARY", str(library))

    def set_answers(**values: int) -> None:
        for name in ("gpus", "init"):
            monkeypatch.setenv(f"FAKE_{name.upper()}", str(values.get(name, 0)))

    return set_answers


def test_every_gpu_is_read_with_its_compute_capability_and_memory(answers: Answers) -> None:
    answers(gpus=2)
    found = read_driver()
    assert cuda_device_count() == 2
    assert (found.cuda, found.cuda_major, found.missing_requirement) == ("12.4", 12, None)
    assert found.gpus == (
        Gpu(name="GPU of 10", compute_capability="8.6", memory=10 << 30),
        Gpu(name="GPU of 11", compute_capability="12.0", memory=11 << 30),
    )
    assert [gpu.sm for gpu in found.gpus] == ["86", "120"]


@pytest.mark.parametrize(
    ("init", "reason"), [(803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"), (7, "error 7")]
)
def test_a_driver_that_does_not_start_says_why_and_still_has_its_cuda_version(
    init: int, reason: str, answers: Answers
) -> None:
    answers(gpus=1, init=init)
    found = read_driver()
    assert (cuda_device_count(), found.gpus, found.cuda) == (0, (), "12.4")
    assert found.missing_requirement == f"the driver does not start: {reason}"


def test_a_driver_without_a_gpu_says_so(answers: Answers) -> None:
    answers(gpus=0)
    assert read_driver().missing_requirement == "the driver shows no GPU to this process"


def test_without_a_driver_nothing_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(nvidia, "_LIBRARY", "libcuda-that-is-nowhere.so.1")
    monkeypatch.setattr(nvidia, "_PCI_DEVICES", tmp_path / "missing")
    for name in ("_MODULE_VERSION", "_PROC_VERSION"):
        monkeypatch.setattr(nvidia, name, tmp_path / "missing")
    assert read_driver() == NvidiaDriver(
        version=None,
        cuda=None,
        gpus=(),
        missing_requirement="there is no libcuda-that-is-nowhere.so.1",
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
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 01:44:30\n",
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

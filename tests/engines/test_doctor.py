"""The diagnosis: what is installed, and the line that repairs each gap."""

from __future__ import annotations

import sys

import pytest

from motivnet.errors import RuntimeUnavailableError
from motivnet_engines import doctor
from motivnet_engines.doctor import PackageStatus, diagnose


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch):
    """A function that sets how many CUDA devices there seem to be."""
    return lambda count: monkeypatch.setattr(doctor, "cuda_device_count", lambda: count)


def package(name: str) -> PackageStatus:
    return next(status for status in diagnose().packages if status.name == name)


def test_installed_runtimes_are_usable_and_need_no_repair(devices) -> None:
    devices(0)
    for name, detail in (("onnxruntime", "CPUExecutionProvider"), ("openvino", "FP32")):
        status = package(name)
        assert status.usable
        assert status.version
        assert detail in status.detail
        assert status.repair is None


@pytest.mark.parametrize(
    ("name", "module", "repair"),
    [
        ("onnxruntime", "onnxruntime", "pip install 'motivnet[cpu]'"),
        ("openvino", "openvino", "pip install 'motivnet[cpu]'"),
        ("tensorrt", "tensorrt", "pip install 'motivnet[trt]'"),
        ("tensorrt_rtx", "tensorrt_rtx", "pip install 'motivnet[rtx]'"),
        ("cuda-python", "cuda", "pip install 'motivnet[trt]'"),
    ],
)
def test_a_missing_package_has_its_line(
    name: str, module: str, repair: str, devices, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices(0)
    monkeypatch.delitem(sys.modules, "cuda.bindings", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    status = package(name)
    assert (status.usable, status.version, status.detail, status.repair) == (False, None, "not installed", repair)


def test_with_no_cpu_runtime_the_machine_is_not_healthy(devices, monkeypatch: pytest.MonkeyPatch) -> None:
    devices(0)
    assert diagnose().healthy
    for module in ("onnxruntime", "openvino"):
        monkeypatch.setitem(sys.modules, module, None)
    assert not diagnose().healthy


def test_a_package_that_cannot_be_loaded_is_to_be_installed_again(devices, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> str:
        raise RuntimeUnavailableError("openvino is installed but cannot be loaded: libtbb.so.12 is missing")

    devices(0)
    monkeypatch.setattr(doctor, "_openvino_detail", broken)
    status = package("openvino")
    assert not status.usable
    assert "libtbb.so.12" in status.detail
    assert status.repair == "pip install --force-reinstall 'motivnet[cpu]'"


def test_a_gpu_with_the_cpu_package_calls_for_the_other_one(devices, monkeypatch: pytest.MonkeyPatch) -> None:
    devices(1)
    monkeypatch.setattr(doctor, "_onnxruntime_detail", lambda: "CPUExecutionProvider")
    status = package("onnxruntime")
    assert status.usable
    assert status.repair == "pip uninstall -y onnxruntime && pip install 'motivnet[gpu]'"


@pytest.mark.parametrize(("count", "extra"), [(0, "cpu"), (1, "gpu")])
def test_two_packages_over_one_another_are_both_removed(
    count: int, extra: str, devices, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices(count)
    monkeypatch.setattr(doctor, "_version_of", lambda distribution: "1.0")
    status = package("onnxruntime")
    assert "overwrite each other" in status.detail
    assert status.repair == f"pip uninstall -y onnxruntime-gpu onnxruntime && pip install 'motivnet[{extra}]'"

"""The packages: installed, really loadable, and the line that fixes each gap."""

from __future__ import annotations

import sys

import pytest

from motivnet.errors import RuntimeUnavailableError
from motivnet_engines.diagnostics import packages
from motivnet_engines.diagnostics.packages import PackageStatus, package_statuses
from motivnet_engines.system.machine import Jetson

ORIN = Jetson(model="Jetson AGX Orin", l4t="36.4.3", jetpack="6")
THOR = Jetson(model="Jetson AGX Thor", l4t="39.0", jetpack="7")


def package(name: str, *, devices: int = 0, jetson: Jetson | None = None) -> PackageStatus:
    return next(
        status for status in package_statuses(devices=devices, jetson=jetson) if status.name == name
    )


def test_installed_runtimes_are_usable_and_need_no_fix() -> None:
    for name, detail in (("onnxruntime", "CPUExecutionProvider"), ("openvino", "FP32")):
        status = package(name)
        assert status.usable
        assert status.version
        assert detail in status.detail
        assert status.fix is None


@pytest.mark.parametrize(
    ("name", "module", "fix"),
    [
        ("onnxruntime", "onnxruntime", "pip install 'motivnet[cpu]'"),
        ("openvino", "openvino", "pip install 'motivnet[cpu]'"),
        ("tensorrt", "tensorrt", "pip install 'motivnet[trt]'"),
        ("tensorrt_rtx", "tensorrt_rtx", "pip install 'motivnet[rtx]'"),
        ("cuda-python", "cuda", "pip install 'motivnet[trt]'"),
        ("pycuda", "pycuda", None),
    ],
)
def test_a_missing_package_has_its_line(
    name: str, module: str, fix: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pycuda", None)
    monkeypatch.delitem(sys.modules, "cuda.bindings", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    status = package(name)
    assert (status.usable, status.version, status.detail, status.fix) == (
        False,
        None,
        "not installed",
        fix,
    )


def test_a_jetson_gets_tensorrt_from_jetpack_and_not_from_pip(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    fix = package("tensorrt", jetson=ORIN).fix
    assert fix is not None
    assert "apt-get install -y python3-libnvinfer" in fix
    assert "--system-site-packages" in fix


@pytest.mark.parametrize(
    ("name", "module", "jetson", "fix"),
    [
        ("tensorrt_rtx", "tensorrt_rtx", ORIN, None),
        ("cuda-python", "cuda", ORIN, "pip install 'cuda-bindings<13'"),
        ("cuda-python", "cuda", THOR, "pip install cuda-bindings"),
    ],
)
def test_a_jetson_is_not_told_to_install_what_does_not_run_there(
    name: str, module: str, jetson: Jetson, fix: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pycuda", None)
    monkeypatch.delitem(sys.modules, "cuda.bindings", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    assert package(name, devices=1, jetson=jetson).fix == fix


def test_a_jetson_keeps_its_onnxruntime_because_the_other_one_has_no_wheel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(packages, "_onnxruntime_detail", lambda: "CPUExecutionProvider")
    status = package("onnxruntime", devices=1, jetson=ORIN)
    assert (status.usable, status.fix) == (True, None)


def test_tensorrt_rtx_is_really_loaded() -> None:
    pytest.importorskip("tensorrt_rtx")
    status = package("tensorrt_rtx")
    assert (status.usable, status.detail) == (True, "compiles for SM 75, 80, 86, 89, 120, 121")


def test_a_tensorrt_whose_library_is_missing_says_which_and_how_to_fix_it(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = "libnvinfer.so.10: cannot open shared object file"
    (tmp_path / "tensorrt.py").write_text(f"raise ImportError({reason!r})\n")
    monkeypatch.syspath_prepend(tmp_path)
    status = package("tensorrt")
    assert not status.usable
    assert reason in status.detail
    assert status.fix == "pip install --force-reinstall 'motivnet[trt]'"


def test_a_package_that_cannot_be_loaded_is_to_be_installed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> str:
        raise RuntimeUnavailableError(
            "openvino is installed but cannot be loaded: libtbb.so.12 is missing"
        )

    monkeypatch.setattr(packages, "_openvino_detail", broken)
    status = package("openvino")
    assert not status.usable
    assert "libtbb.so.12" in status.detail
    assert status.fix == "pip install --force-reinstall 'motivnet[cpu]'"


def test_a_gpu_with_the_cpu_package_calls_for_the_other_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(packages, "_onnxruntime_detail", lambda: "CPUExecutionProvider")
    status = package("onnxruntime", devices=1)
    assert status.usable
    assert status.fix == "pip uninstall -y onnxruntime && pip install 'motivnet[gpu]'"


@pytest.mark.parametrize(("devices", "extra"), [(0, "cpu"), (1, "gpu")])
def test_two_packages_over_one_another_are_both_removed(
    devices: int, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "version_of", lambda distribution: "1.0")
    status = package("onnxruntime", devices=devices)
    assert "overwrite each other" in status.detail
    assert (
        status.fix
        == f"pip uninstall -y onnxruntime-gpu onnxruntime && pip install 'motivnet[{extra}]'"
    )

"""What can be built and run on other machines, with the reasons and the commands to fix it."""

from __future__ import annotations

from typing import Any

import pytest

from motivnet_engines.diagnostics import capabilities as module
from motivnet_engines.diagnostics.capabilities import (
    Capability,
    Environment,
    driver_fix,
    find_advice,
    find_builds,
    find_runtimes,
)
from motivnet_engines.diagnostics.packages import REQUIRED, PackageStatus
from motivnet_engines.runtimes.registry import RUNTIMES
from motivnet_engines.runtimes.tensorrt import api
from motivnet_engines.system.machine import Jetson
from motivnet_engines.system.nvidia import Gpu, NvidiaDriver

ORIN = Jetson(model="Jetson AGX Orin", l4t="36.4.3", jetpack="6")
DETAILS = {
    **dict.fromkeys(REQUIRED, "needed by every command"),
    "onnxruntime": "CUDAExecutionProvider, CPUExecutionProvider",
    "openvino": "FP32, BF16",
    "tensorrt": "compiles for the GPU of its machine",
    "tensorrt_rtx": "compiles for SM 75, 80, 86",
    "cuda-python": "the API of the CUDA driver",
    "pycuda": "the API of the CUDA driver",
}


def gpu(capability: str) -> Gpu:
    return Gpu(name="a GPU", compute_capability=capability, memory=8 << 30)


def driver(*capabilities: str, **changes: Any) -> NvidiaDriver:
    gpus = tuple(map(gpu, capabilities))
    values: dict[str, Any] = {
        "version": "580.95.05",
        "cuda": "13.0",
        "gpus": gpus,
        "missing_requirement": None if gpus else "there is no libcuda.so.1",
        "unused_gpu": False,
    }
    return NvidiaDriver(**{**values, **changes})


def environment(
    found: NvidiaDriver,
    *,
    missing: tuple[str, ...] = (),
    versions: dict[str, str] | None = None,
    details: dict[str, str] | None = None,
    jetson: Jetson | None = None,
) -> Environment:
    packages = {}
    for name, detail in {**DETAILS, **(details or {})}.items():
        here = name not in missing
        packages[name] = PackageStatus(
            name=name,
            version=(versions or {}).get(name, "11.4.0") if here else None,
            usable=here,
            detail=detail if here else "not installed",
            fix=None if here else f"install {name}",
        )
    return Environment(packages=packages, driver=found, jetson=jetson)


def named(found: tuple[Capability, ...], name: str) -> Capability:
    return next(capability for capability in found if capability.name == name)


@pytest.fixture(autouse=True)
def wheels(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The distributions that seem to be installed; nothing of TensorRT's CUDA at first."""
    installed = dict.fromkeys(("torch", "onnx", "onnx-ir", "onnxscript", "safetensors"), "1.0")
    monkeypatch.setattr(module, "version_of", installed.get)
    monkeypatch.setattr(api, "version_of", installed.get)
    return installed


def test_every_runtime_is_answered_for_in_the_order_of_preference() -> None:
    found = find_runtimes(environment(driver("8.6")))
    assert tuple(capability.name for capability in found) == RUNTIMES


def test_a_gpu_with_everything_can_do_everything() -> None:
    around = environment(driver("8.6"))
    assert all(capability.possible for capability in (*find_builds(around), *find_runtimes(around)))


def test_without_a_gpu_engines_are_only_compiled_ahead_of_time() -> None:
    around = environment(driver())
    builds, runs = find_builds(around), find_runtimes(around)
    assert [capability.possible for capability in builds] == [True, False, True]
    assert [capability.possible for capability in runs] == [False, False, False, True, True, True]
    assert (
        named(builds, "tensorrt engine").detail == "needs an NVIDIA GPU: there is no libcuda.so.1"
    )
    assert named(builds, "tensorrt-rtx engine").detail == "ahead of time, for SM 75, 80, 86"


@pytest.mark.parametrize(
    ("missing", "name", "detail", "fix"),
    [
        (("tensorrt",), "tensorrt", "tensorrt is not installed", "install tensorrt"),
        (
            ("tensorrt_rtx",),
            "tensorrt-rtx",
            "tensorrt_rtx is not installed",
            "install tensorrt_rtx",
        ),
        (
            ("cuda-python", "pycuda"),
            "tensorrt",
            "needs cuda-python or pycuda",
            "install cuda-python",
        ),
        (("openvino",), "openvino-bf16", "not installed", "install openvino"),
    ],
)
def test_what_is_missing_is_named_with_its_line(
    missing: tuple[str, ...], name: str, detail: str, fix: str
) -> None:
    capability = named(find_runtimes(environment(driver("8.6"), missing=missing)), name)
    assert (capability.possible, capability.detail, capability.fix) == (False, detail, fix)


def test_one_cuda_package_is_enough() -> None:
    for missing in ("cuda-python", "pycuda"):
        assert named(
            find_runtimes(environment(driver("8.6"), missing=(missing,))), "tensorrt"
        ).possible


def test_an_export_package_that_is_missing_is_named(wheels: dict[str, str]) -> None:
    del wheels["torch"], wheels["onnxscript"]
    capability = named(find_builds(environment(driver())), "ONNX artifact")
    assert (capability.possible, capability.fix) == (False, "pip install 'motivnet[export]'")
    assert capability.detail == "torch, onnxscript not installed; a device needs none of it"


@pytest.mark.parametrize(
    ("capabilities", "trt", "rtx"),
    [
        (("8.6",), True, True),
        (("8.7",), True, False),
        (("9.0",), True, False),
        (("6.1",), False, False),
        (("9.0", "12.0"), True, True),
    ],
)
def test_which_tensorrt_serves_which_gpu(
    capabilities: tuple[str, ...], trt: bool, rtx: bool
) -> None:
    runs = find_runtimes(environment(driver(*capabilities)))
    assert (named(runs, "tensorrt").possible, named(runs, "tensorrt-rtx").possible) == (trt, rtx)


CU12 = (
    "pip uninstall -y tensorrt tensorrt-cu13 tensorrt-cu13-libs tensorrt-cu13-bindings "
    "&& pip install tensorrt-cu12"
)
"""All of its parts: what is left of them would delete files of the other when it goes."""


@pytest.mark.parametrize(
    ("cuda", "fix"),
    [
        ("12.4", CU12),
        ("13.0", None),
        (None, None),
    ],
)
def test_a_wheel_for_a_newer_cuda_than_the_drivers_is_noticed(
    cuda: str | None, fix: str | None, wheels: dict[str, str]
) -> None:
    wheels["tensorrt-cu13"] = "11.4.0"
    capability = named(find_runtimes(environment(driver("8.6", cuda=cuda))), "tensorrt")
    assert (capability.possible, capability.fix) == (fix is None, fix)
    assert ("CUDA 13" in capability.detail) == (fix is not None)


def test_onnx_runtime_needs_its_cuda_provider() -> None:
    around = environment(driver("8.6"), details={"onnxruntime": "CPUExecutionProvider"})
    assert not named(find_runtimes(around), "onnxruntime-cuda").possible


def test_two_onnx_runtimes_are_not_said_to_have_no_cuda() -> None:
    detail = "onnxruntime-gpu and onnxruntime overwrite each other"
    capability = named(
        find_runtimes(environment(driver("8.6"), details={"onnxruntime": detail})),
        "onnxruntime-cuda",
    )
    assert (capability.possible, capability.detail) == (False, detail)


def test_bf16_needs_the_processors_instructions() -> None:
    around = environment(driver(), details={"openvino": "FP32"})
    assert not named(find_runtimes(around), "openvino-bf16").possible


@pytest.mark.parametrize(
    ("found", "jetson", "container", "line"),
    [
        (driver("8.6"), None, False, None),
        (driver(), None, False, None),
        (driver(unused_gpu=True), None, False, "sudo ubuntu-drivers install && sudo reboot"),
        (driver(unused_gpu=True), None, True, "docker run --gpus all ..."),
        (driver(), ORIN, False, "sudo apt-get install -y nvidia-jetpack"),
        (driver(), ORIN, True, "docker run --runtime nvidia ..."),
    ],
)
def test_the_driver_has_a_line_where_a_gpu_is_there_without_it(
    found: NvidiaDriver,
    jetson: Any,
    container: bool,
    line: str | None,
    tmp_path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_CONTAINERS", (tmp_path if container else tmp_path / "missing",))
    assert driver_fix(found, jetson) == line


def test_a_jetson_with_jetpack_6_is_advised_before_its_first_build() -> None:
    first, *faults = find_advice(
        environment(driver("8.7"), versions={"tensorrt": "10.3.0"}, jetson=ORIN)
    )
    assert first == (
        "tensorrt 10.3.0 is older than 10.15: export with --attention decomposed, "
        "and --precision bf16 or fp32 on a Jetson"
    )
    assert [("issues/4723" in fault) for fault in faults] == [True]


def test_advice_depends_on_the_gpu_and_is_given_once() -> None:
    assert find_advice(environment(driver("8.6"))) == ()
    assert find_advice(environment(driver("12.0"), missing=("tensorrt",))) == ()
    [advice] = find_advice(environment(driver("12.0", "12.0")))
    assert "issues/4837" in advice


@pytest.mark.parametrize("name", REQUIRED)
def test_nothing_runs_without_what_every_command_needs(name: str) -> None:
    found = find_runtimes(environment(driver("8.6"), missing=(name,)))
    assert {(each.possible, each.fix) for each in found} == {(False, f"install {name}")}

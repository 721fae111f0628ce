"""Every way in which an engine can be for another machine, each with its remedy."""

from __future__ import annotations

import dataclasses
import types
from pathlib import Path
from typing import Any

import pytest

from motivnet.artifact.manifest import (
    EngineDevice,
    EngineEntry,
    EngineProof,
    FileEntry,
    Manifest,
    ShapeProfile,
)
from motivnet.errors import MissingDependencyError, RuntimeUnavailableError
from motivnet_engines.runtimes.fake import fake_manifest
from motivnet_engines.runtimes.registry import check_possible
from motivnet_engines.runtimes.tensorrt import compatibility as identity
from motivnet_engines.runtimes.tensorrt import lean
from motivnet_engines.runtimes.tensorrt.api import Api
from motivnet_engines.runtimes.tensorrt.compatibility import check_engine, this_platform
from motivnet_engines.system.nvidia import Gpu, NvidiaDriver

A4000 = Gpu(name="NVIDIA RTX A4000", compute_capability="8.6", memory=16 << 30)
A2000 = Gpu(name="NVIDIA RTX A2000", compute_capability="8.6", memory=6 << 30)
T4 = Gpu(name="Tesla T4", compute_capability="7.5", memory=16 << 30)
L4 = Gpu(name="NVIDIA L4", compute_capability="8.9", memory=24 << 30)
RTX_5090 = Gpu(name="NVIDIA GeForce RTX 5090", compute_capability="12.0", memory=32 << 30)


def manifest(backend: str, **changes: Any) -> Manifest:
    """A manifest with an engine that was built on an A4000."""
    base = fake_manifest()
    height, width = base.input.recipe.size
    values: dict[str, Any] = {
        "backend": backend,
        "path": "model.engine",
        "onnx_sha256": "0" * 64,
        "version": "10.16.1.11",
        "platform": this_platform(),
        "precision": "fp32",
        "attention": "decomposed",
        "compute_capabilities": (),
        "device": EngineDevice(
            name=A4000.name, compute_capability="8.6", memory=A4000.memory, driver="13.0"
        ),
        "profile": ShapeProfile(
            min_batch=1,
            opt_batch=1,
            max_batch=8,
            min_size=(height, width),
            opt_size=(height, width),
            max_size=(height, width),
        ),
        "hardware_compatibility": "none",
        "version_compatible": False,
        "weight_streaming": False,
        "build_seconds": 1.0,
        "build_peak_bytes": 1,
        "proof": EngineProof(
            evidence="network",
            layers=1,
            matrix_layers={},
            attention_layers=0,
            attention_fused=None,
            activation_bytes=None,
        ),
    }
    engine = EngineEntry(**(values | changes))
    file = FileEntry(path="model.engine", size=0, sha256="0" * 64)
    return dataclasses.replace(base, files=(*base.files, file), engines=(engine,))


@pytest.fixture(autouse=True)
def _lean_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lean.so"
    path.touch()
    monkeypatch.setenv(lean.VARIABLE, str(path))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that says what this machine is."""

    def described(*gpus: Gpu, version: str = "10.16.1.11", obstacle: str | None = None) -> None:
        driver = NvidiaDriver(
            version="580.1", cuda="13.0", gpus=gpus, obstacle=obstacle, unused_gpu=False
        )
        monkeypatch.setattr(identity, "read_driver", lambda: driver)
        monkeypatch.setattr(
            identity,
            "load_api",
            lambda backend: Api(backend=backend, trt=types.SimpleNamespace(), version=version),
        )

    return described


FITS = [
    ("tensorrt", {}, A4000, "10.16.1.11"),
    ("tensorrt", {"hardware_compatibility": "same-compute-capability"}, A2000, "10.16.1.11"),
    ("tensorrt", {"hardware_compatibility": "ampere-plus"}, L4, "10.16.1.11"),
    ("tensorrt", {"hardware_compatibility": "ampere-plus"}, RTX_5090, "10.16.1.11"),
    ("tensorrt", {"version_compatible": True}, A4000, "10.16.1.11"),
    ("tensorrt", {"version_compatible": True}, A4000, "10.17.0.2"),
    ("tensorrt-rtx", {"device": None}, L4, "10.16.1.11"),
    (
        "tensorrt-rtx",
        {"device": None, "compute_capabilities": ("86", "120")},
        RTX_5090,
        "10.16.1.11",
    ),
    ("tensorrt-rtx", {"device": None, "compute_capabilities": ("75",)}, T4, "10.16.1.11"),
]


@pytest.mark.parametrize(("backend", "changes", "gpu", "version"), FITS)
def test_an_engine_that_fits_is_let_through(
    backend: str, changes: Any, gpu: Gpu, version: str, machine: Any
) -> None:
    machine(gpu, version=version)
    check_engine(manifest(backend, **changes), backend)


ANOTHER_GPU = "build it here: motivnet build-engine ARTIFACT --backend "
MISMATCHES = {
    "another GPU": (
        "tensorrt",
        {},
        A2000,
        "10.16.1.11",
        "for NVIDIA RTX A4000 .*this GPU is NVIDIA RTX A2000",
    ),
    "another capability": (
        "tensorrt",
        {"hardware_compatibility": "same-compute-capability"},
        L4,
        "10.16.1.11",
        r"for compute capability 8\.6, this GPU is NVIDIA L4 \(compute capability 8\.9\)",
    ),
    "before Ampere": (
        "tensorrt",
        {"hardware_compatibility": "ampere-plus"},
        T4,
        "10.16.1.11",
        "for Ampere and later .*this GPU is Tesla T4",
    ),
    "RTX before Ampere": (
        "tensorrt-rtx",
        {"device": None},
        T4,
        "10.16.1.11",
        r"for Ampere and later as far as TensorRT-RTX goes \(SM 80, 86, 89, 120, 121\), this GPU is Tesla T4",
    ),
    "RTX of another SM": (
        "tensorrt-rtx",
        {"device": None, "compute_capabilities": ("86", "89")},
        RTX_5090,
        "10.16.1.11",
        r"for SM 86, 89, this GPU is NVIDIA GeForce RTX 5090 \(compute capability 12\.0\)",
    ),
    "another version": (
        "tensorrt",
        {},
        A4000,
        "10.16.1.12",
        r"built by tensorrt 10\.16\.1\.11 and 10\.16\.1\.12 is installed; install that version, or build it here",
    ),
    "an older version": (
        "tensorrt",
        {"version_compatible": True},
        A4000,
        "10.9.0.34",
        "10.9.0.34 is installed",
    ),
    "another major version": (
        "tensorrt",
        {"version_compatible": True},
        A4000,
        "11.4.0.106",
        "11.4.0.106 is installed",
    ),
    "RTX of another version": (
        "tensorrt-rtx",
        {"device": None, "version_compatible": True},
        L4,
        "10.17.0.0",
        "built by tensorrt_rtx 10.16.1.11 and 10.17.0.0 is installed",
    ),
    "another platform": (
        "tensorrt",
        {"platform": "linux-mips"},
        A4000,
        "10.16.1.11",
        rf"for linux-mips, this machine is {this_platform()}; build it here",
    ),
    "no device in the manifest": (
        "tensorrt",
        {"device": None},
        A4000,
        "10.16.1.11",
        "does not name",
    ),
}


@pytest.mark.parametrize("case", MISMATCHES)
def test_a_mismatch_is_one_line_with_its_remedy(case: str, machine: Any) -> None:
    backend, changes, gpu, version, message = MISMATCHES[case]
    machine(gpu, version=version)
    with pytest.raises(RuntimeUnavailableError, match=message) as raised:
        check_engine(manifest(backend, **changes), backend)
    text = str(raised.value)
    assert f"build it here: motivnet build-engine ARTIFACT --backend {backend}" in text
    assert "\n" not in text
    assert "; the " not in text, "more than the one mismatch"


@pytest.mark.parametrize("sms", [(), ("86", "120")], ids=["portable", "named"])
@pytest.mark.parametrize("capability", ["8.7", "9.0", "10.0"])
def test_a_gpu_that_tensorrt_rtx_has_nothing_for_is_told_to_use_tensorrt(
    capability: str, sms: tuple[str, ...], machine: Any
) -> None:
    machine(Gpu(name="NVIDIA Other", compute_capability=capability, memory=1 << 30))
    with pytest.raises(RuntimeUnavailableError) as raised:
        check_engine(
            manifest("tensorrt-rtx", device=None, compute_capabilities=sms), "tensorrt-rtx"
        )
    sm = capability.replace(".", "")
    assert f"this GPU is NVIDIA Other (compute capability {capability})" in str(raised.value)
    assert str(raised.value).endswith(
        f"TensorRT-RTX has none for SM {sm}, tensorrt has; "
        "build it here: motivnet build-engine ARTIFACT --backend tensorrt"
    )


def test_a_version_compatible_engine_without_its_lean_runtime_says_what_to_install(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(lean.VARIABLE)
    machine(A4000, version="10.17.0.2")
    with pytest.raises(
        RuntimeUnavailableError, match=r"install tensorrt-lean==10\.16\.1\.11, or set MOTIVNET_TENS"
    ):
        check_engine(manifest("tensorrt", version_compatible=True), "tensorrt")


def test_every_mismatch_is_named_at_once(machine: Any) -> None:
    machine(L4, version="11.0.0")
    with pytest.raises(RuntimeUnavailableError) as raised:
        check_engine(manifest("tensorrt", platform="linux-mips"), "tensorrt")
    assert all(
        words in str(raised.value)
        for words in ("linux-mips", "11.0.0 is installed", "this GPU is NVIDIA L4")
    )


def test_a_machine_without_a_gpu_says_so(machine: Any) -> None:
    machine(obstacle="there is no libcuda.so.1")
    with pytest.raises(RuntimeUnavailableError) as raised:
        check_engine(manifest("tensorrt"), "tensorrt")
    assert str(raised.value) == (
        "the tensorrt engine needs an NVIDIA GPU, and here there is no libcuda.so.1; install the NVIDIA driver, "
        "or choose another runtime such as onnxruntime"
    )


def test_another_gpu_of_the_machine_can_be_meant(machine: Any) -> None:
    machine(T4, A4000)
    check_engine(manifest("tensorrt"), "tensorrt", device=1)
    with pytest.raises(RuntimeUnavailableError, match="this GPU is Tesla T4"):
        check_engine(manifest("tensorrt"), "tensorrt", device=0)
    with pytest.raises(RuntimeUnavailableError, match="there is no GPU 2, the driver shows 2"):
        check_engine(manifest("tensorrt"), "tensorrt", device=2)


def test_an_engine_alone_is_built_again_from_where_its_graph_is(machine: Any) -> None:
    machine(A2000)
    both = manifest("tensorrt")
    alone = dataclasses.replace(both, kind="engine", model="model.engine", files=both.files[1:])
    with pytest.raises(
        RuntimeUnavailableError, match="from the artifact that holds the ONNX graph"
    ):
        check_engine(alone, "tensorrt")


def test_an_artifact_without_an_engine_says_how_to_get_one() -> None:
    with pytest.raises(
        RuntimeUnavailableError,
        match="has no tensorrt engine; build one here with: motivnet build-en",
    ):
        check_engine(fake_manifest(), "tensorrt")


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'motivnet\[trt\]'"):
        check_engine(manifest("tensorrt"), "tensorrt")


def test_the_dispatch_asks(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(A2000, version="1.7.1.116")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: True)
    with pytest.raises(RuntimeUnavailableError, match="this GPU is"):
        check_possible("tensorrt", manifest("tensorrt", version="1.7.1.116"))


@pytest.mark.parametrize(
    ("system", "machine_name", "expected"),
    [
        ("linux", "x86_64", "linux-x86_64"),
        ("linux", "aarch64", "linux-aarch64"),
        ("linux", "arm64", "linux-aarch64"),
        ("win32", "AMD64", "win32-x86_64"),
    ],
)
def test_a_platform_has_one_name(
    system: str, machine_name: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity.sys, "platform", system)
    monkeypatch.setattr(identity.platform, "machine", lambda: machine_name)
    assert this_platform() == expected

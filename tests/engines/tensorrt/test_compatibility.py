"""Every way in which an engine can be for another machine, each with its remedy."""

from __future__ import annotations

import enum
import importlib
import logging
import re
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from motivnet.artifact.engine_entry import EngineDevice, EngineEntry, EngineReport, ShapeProfile
from motivnet.artifact.manifest import FileEntry, Manifest
from motivnet.errors import EngineError, MissingDependencyError, RuntimeUnavailableError
from motivnet_engines.build import backend
from motivnet_engines.runtimes.fake import fake_manifest
from motivnet_engines.runtimes.registry import check_possible
from motivnet_engines.runtimes.tensorrt import api, compatibility
from motivnet_engines.runtimes.tensorrt.api import Api
from motivnet_engines.runtimes.tensorrt.compatibility import (
    DIAGNOSES,
    check_engine,
    check_validity,
    this_platform,
)
from motivnet_engines.system.nvidia import Gpu, NvidiaDriver

A4000 = Gpu(name="NVIDIA RTX A4000", compute_capability="8.6", memory=16 << 30)
A2000 = Gpu(name="NVIDIA RTX A2000", compute_capability="8.6", memory=6 << 30)
T4 = Gpu(name="Tesla T4", compute_capability="7.5", memory=16 << 30)
L4 = Gpu(name="NVIDIA L4", compute_capability="8.9", memory=24 << 30)
RTX_5090 = Gpu(name="NVIDIA GeForce RTX 5090", compute_capability="12.0", memory=32 << 30)


def manifest(backend: str, **changes: Any) -> Manifest:
    """A manifest with an engine that was built on an A4000."""
    base = fake_manifest()
    height, width = base.input.preprocessing.size
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
        "report": EngineReport(
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
    return msgspec.structs.replace(base, files=(*base.files, file), engines=(engine,))


@pytest.fixture(autouse=True)
def _lean_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lean.so"
    path.touch()
    monkeypatch.setenv(compatibility.LEAN_VARIABLE, str(path))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that says what this machine is."""

    def described(
        *gpus: Gpu,
        version: str = "10.16.1.11",
        missing_requirement: str | None = None,
        cuda: str = "13.0",
    ) -> None:
        driver = NvidiaDriver(
            version="580.1",
            cuda=cuda,
            gpus=gpus,
            missing_requirement=missing_requirement,
            unused_gpu=False,
        )
        monkeypatch.setattr(compatibility, "read_driver", lambda: driver)
        monkeypatch.setattr(
            compatibility,
            "load_api",
            lambda backend: Api(backend=backend, trt=types.SimpleNamespace(), version=version),
        )

    return described


SAME = "10.16.1.11"
FITS = [
    ("tensorrt", {}, A4000, SAME),
    ("tensorrt", {"hardware_compatibility": "same-compute-capability"}, A2000, SAME),
    ("tensorrt", {"hardware_compatibility": "ampere-plus"}, L4, SAME),
    ("tensorrt", {"hardware_compatibility": "ampere-plus"}, RTX_5090, SAME),
    ("tensorrt", {"version_compatible": True}, A4000, SAME),
    ("tensorrt", {"version_compatible": True}, A4000, "10.17.0.2"),
    ("tensorrt-rtx", {"device": None}, L4, SAME),
    ("tensorrt-rtx", {"device": None, "compute_capabilities": ("86", "120")}, RTX_5090, SAME),
    ("tensorrt-rtx", {"device": None, "compute_capabilities": ("75",)}, T4, SAME),
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
        SAME,
        "for NVIDIA RTX A4000 .*this GPU is NVIDIA RTX A2000",
    ),
    "another capability": (
        "tensorrt",
        {"hardware_compatibility": "same-compute-capability"},
        L4,
        SAME,
        r"for compute capability 8\.6, this GPU is NVIDIA L4 \(compute capability 8\.9\)",
    ),
    "before Ampere": (
        "tensorrt",
        {"hardware_compatibility": "ampere-plus"},
        T4,
        SAME,
        "for Ampere and later .*this GPU is Tesla T4",
    ),
    "RTX before Ampere": (
        "tensorrt-rtx",
        {"device": None},
        T4,
        SAME,
        r"for Ampere and later as far as TensorRT-RTX supports it \(SM 80, 86, 89, 120, 121\), "
        "this GPU is Tesla T4",
    ),
    "RTX of another SM": (
        "tensorrt-rtx",
        {"device": None, "compute_capabilities": ("86", "89")},
        RTX_5090,
        SAME,
        r"for SM 86, 89, this GPU is NVIDIA GeForce RTX 5090 \(compute capability 12\.0\)",
    ),
    "another version": (
        "tensorrt",
        {},
        A4000,
        "10.16.1.12",
        r"built by tensorrt 10\.16\.1\.11 and 10\.16\.1\.12 is installed; install that version, "
        "or build it here",
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
        SAME,
        rf"for linux-mips, this machine is {this_platform()}; build it here",
    ),
    "no device in the manifest": ("tensorrt", {"device": None}, A4000, SAME, "does not name"),
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
    monkeypatch.delenv(compatibility.LEAN_VARIABLE)
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
    machine(missing_requirement="there is no libcuda.so.1")
    with pytest.raises(RuntimeUnavailableError) as raised:
        check_engine(manifest("tensorrt"), "tensorrt")
    assert str(raised.value) == (
        "the tensorrt engine needs an NVIDIA GPU, and here there is no libcuda.so.1; "
        "install the NVIDIA driver, "
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
    alone = msgspec.structs.replace(both, kind="engine", model="model.engine", files=both.files[1:])
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
    monkeypatch.setattr(compatibility.sys, "platform", system)
    monkeypatch.setattr(compatibility.platform, "machine", lambda: machine_name)
    assert this_platform() == expected


BUILT = "10.12.0.36"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution of that package and version, as pip leaves it."""
    monkeypatch.delenv(compatibility.LEAN_VARIABLE, raising=False)
    folder = tmp_path / "site-packages"
    info = folder / f"tensorrt_lean_cu12_libs-{BUILT}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: tensorrt_lean_cu12_libs\nVersion: {BUILT}\n"
    )
    path = folder / "tensorrt_lean_libs" / "libnvinfer_lean.so.10"
    path.parent.mkdir()
    (path.parent / "__init__.py").touch()
    path.touch()
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    return path


def test_the_library_is_that_of_the_installed_package(installed: Path) -> None:
    assert compatibility.lean_library(BUILT) == installed


def test_the_library_is_not_one_of_another_version(installed: Path) -> None:
    with pytest.raises(RuntimeUnavailableError) as raised:
        compatibility.lean_library("10.12.0.37")
    assert (
        f"and tensorrt-lean {BUILT} is installed; install tensorrt-lean==10.12.0.37, or set"
        in str(raised.value)
    )


def test_the_library_must_be_there(installed: Path) -> None:
    installed.unlink()
    with pytest.raises(
        RuntimeUnavailableError, match=rf"of TensorRT {BUILT}, which its installed package lacks"
    ):
        compatibility.lean_library(BUILT)


def test_the_library_is_the_one_that_the_environment_names(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.so").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(compatibility.LEAN_VARIABLE, "mine.so")
    assert compatibility.lean_library(BUILT) == tmp_path / "mine.so"


def test_a_library_that_is_named_and_not_there_is_refused(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(compatibility.LEAN_VARIABLE, "/nowhere/lean.so")
    with pytest.raises(RuntimeUnavailableError) as raised:
        compatibility.lean_library(BUILT)
    assert str(raised.value) == (
        "MOTIVNET_TENSORRT_LEAN names '/nowhere/lean.so', which is not a file; "
        "set it to the path of "
        f"the libnvinfer_lean.so.10 of TensorRT {BUILT}"
    )


class EngineValidity(enum.Enum):
    VALID = 10
    SUBOPTIMAL = 11
    INVALID = 12


class EngineInvalidityDiagnostics(enum.IntFlag):
    """In another order than the real one, whose integers must not matter."""

    CUDA_ERROR = 1
    MALFORMED_ENGINE = 2
    INSUFFICIENT_GPU_MEMORY = 4
    OLD_CUDA_RUNTIME = 8
    OLD_CUDA_DRIVER = 16
    UNSUPPORTED_CC = 32
    VERSION_MISMATCH = 64


TRT = types.SimpleNamespace(
    EngineValidity=EngineValidity, EngineInvalidityDiagnostics=EngineInvalidityDiagnostics
)
COMBINATIONS = range(1 << len(EngineInvalidityDiagnostics))


def said(validity: EngineValidity, diagnostics: int, caplog: pytest.LogCaptureFixture) -> str:
    """What the user gets to read: the error, else the warning, else nothing."""
    caplog.clear()
    try:
        with caplog.at_level(logging.WARNING):
            check_validity(TRT, validity, diagnostics)
    except EngineError as error:
        return f"error: {error}"
    return "".join(f"warning: {record.message}" for record in caplog.records)


def test_every_combination_of_an_invalid_engine_is_an_error_with_each_remedy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen = set()
    for diagnostics in COMBINATIONS[1:]:
        text = said(EngineValidity.INVALID, diagnostics, caplog)
        names = [member.name for member in EngineInvalidityDiagnostics if diagnostics & member]
        assert text.startswith("error: the engine cannot be used here: ")
        for name, words in DIAGNOSES.items():
            assert (words in text) == (name in names)
        assert "\n" not in text
        seen.add(text)
    assert len(seen) == len(COMBINATIONS) - 1


@pytest.mark.parametrize("validity", [EngineValidity.VALID, EngineValidity.SUBOPTIMAL])
def test_every_doubt_about_a_usable_engine_is_a_warning(
    validity: EngineValidity, caplog: pytest.LogCaptureFixture
) -> None:
    texts = {said(validity, diagnostics, caplog) for diagnostics in COMBINATIONS[1:]}
    assert len(texts) == len(COMBINATIONS) - 1
    assert all(
        text.startswith("warning: TensorRT-RTX finds the engine usable, but: ") for text in texts
    )


@pytest.mark.parametrize(
    ("validity", "expected"),
    [
        (EngineValidity.VALID, ""),
        (
            EngineValidity.SUBOPTIMAL,
            "warning: TensorRT-RTX finds the engine usable, but: it was compiled for another",
        ),
        (EngineValidity.INVALID, ""),
    ],
)
def test_without_a_reason_deserialisation_is_left_to_tell(
    validity: EngineValidity, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    text = said(validity, 0, caplog)
    assert text.startswith(expected)
    assert bool(text) == bool(expected)


def test_each_reason_has_words_of_its_own() -> None:
    assert len(set(DIAGNOSES.values())) == len(DIAGNOSES)


def test_reasons_that_a_later_version_adds_are_not_lost() -> None:
    later = enum.IntFlag("EngineInvalidityDiagnostics", {"MALFORMED_ENGINE": 1, "OLD_MOON": 2})
    trt = types.SimpleNamespace(EngineValidity=EngineValidity, EngineInvalidityDiagnostics=later)
    with pytest.raises(EngineError, match="TensorRT-RTX says OLD_MOON"):
        check_validity(trt, EngineValidity.INVALID, 2)
    with pytest.raises(EngineError, match="the unknown reason 4"):
        check_validity(trt, EngineValidity.INVALID, 4)


@pytest.fixture(scope="module")
def trt(rtx_installed: None) -> Any:
    """The real package, which reads headers without a GPU."""
    return importlib.import_module("tensorrt_rtx")


@pytest.fixture(scope="module")
def real_check(trt: Any) -> Callable[[bytes], None]:
    runtime = trt.Runtime(trt.Logger(trt.Logger.INTERNAL_ERROR))
    return lambda data: check_validity(
        trt, *runtime.get_engine_validity(data[: runtime.engine_header_size])
    )


def test_the_reasons_that_have_words_are_those_of_the_real_package(trt: Any) -> None:
    assert set(trt.EngineInvalidityDiagnostics.__members__) == set(DIAGNOSES)


def test_a_real_engine_passes(real_check: Any, rtx_engine: Any) -> None:
    real_check(rtx_engine("fp16").path.read_bytes())


@pytest.mark.parametrize("length", range(64))
def test_a_real_header_cut_short_is_refused(length: int, real_check: Any, rtx_engine: Any) -> None:
    with pytest.raises(
        EngineError, match="damaged or is not an engine of TensorRT-RTX; build it here"
    ):
        real_check(rtx_engine("fp16").path.read_bytes()[:length])


@pytest.mark.parametrize(
    "data",
    [bytes(64), b"\x89PNG\r\n\x1a\n" + bytes(56), b"ftrt" + bytes(60)],
    ids=["zeros", "png", "tensorrt"],
)
def test_another_header_is_refused(data: bytes, real_check: Any) -> None:
    with pytest.raises(EngineError, match="damaged or is not an engine"):
        real_check(data)


def test_a_truncated_engine_passes_by_its_header_which_is_why_the_hash_counts(
    real_check: Any, rtx_engine: Any
) -> None:
    data = rtx_engine("fp16").path.read_bytes()
    real_check(data[: len(data) // 2])


@pytest.mark.parametrize("wheel", ["tensorrt-cu13", "tensorrt-lean-cu13"])
def test_a_wheel_for_a_newer_cuda_than_the_drivers_is_refused_before_it_is_called(
    wheel: str, machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "version_of", {wheel: "11.4.0"}.get)
    name = wheel.removesuffix("-cu13")

    machine(A4000, cuda="13.0")
    check_engine(manifest("tensorrt"), "tensorrt")

    machine(A4000, cuda="12.4")
    problem = (
        f"the wheel {wheel} is for CUDA 13 and the driver for 12.4; update either; "
        f"pip uninstall -y {name} {wheel} {wheel}-libs {wheel}-bindings && pip install {name}-cu12"
    )
    with pytest.raises(RuntimeUnavailableError, match=re.escape(problem)):
        check_engine(manifest("tensorrt"), "tensorrt")


def test_no_engine_of_tensorrt_is_built_with_such_a_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = NvidiaDriver(
        version="550.1", cuda="12.4", gpus=(A4000,), missing_requirement=None, unused_gpu=False
    )
    monkeypatch.setattr(backend, "read_driver", lambda: driver)
    monkeypatch.setattr(backend, "cuda_device_count", lambda: 1)
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(
        api, "version_of", {"tensorrt-cu13": "11.4.0", "tensorrt-rtx-cu13": "1.7.1"}.get
    )

    backend.check_backend("tensorrt-rtx")  # it compiles without any driver
    with pytest.raises(RuntimeUnavailableError, match="is for CUDA 13 and the driver for"):
        backend.check_backend("tensorrt")

"""What can be built and run on this machine, each with a reason and the command to fix it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from motivnet_engines.build.known_issues import FUSED_SINCE, fused_supported, warnings_for
from motivnet_engines.diagnostics.packages import REQUIRED, PackageStatus
from motivnet_engines.runtimes.tensorrt.api import RTX_COMPUTE_CAPABILITIES, too_new_wheel
from motivnet_engines.system.installed import version_of
from motivnet_engines.system.machine import Jetson
from motivnet_engines.system.nvidia import NvidiaDriver

if TYPE_CHECKING:
    from motivnet.artifact.engine_entry import EngineBackend
    from motivnet.parity import AttentionForm, Precision

_EXPORT = ("torch", "onnx", "onnx-ir", "onnxscript", "safetensors")
_CONTAINERS = (Path("/.dockerenv"), Path("/run/.containerenv"))
_OLDEST = (7, 5)
"""Turing, the first compute capability of TensorRT 10 and TensorRT-RTX."""

_Missing: TypeAlias = tuple[str, str | None]
"""What is missing, and the command to fix it."""

_FORMS: tuple[tuple[Precision, AttentionForm], ...] = (
    ("fp16", "fused"),
    ("fp16", "decomposed"),
    ("bf16", "fused"),
    ("bf16", "decomposed"),
    ("fp32", "decomposed"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """Something that can or cannot be built or run here; ``detail`` tells how or why not."""

    name: str
    possible: bool
    detail: str
    fix: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What capabilities depend on: the packages by name, the driver, and the Jetson, if any."""

    packages: Mapping[str, PackageStatus]
    driver: NvidiaDriver
    jetson: Jetson | None


def find_builds(here: Environment) -> tuple[Capability, ...]:
    """Return whether the ONNX artifact and an engine of each TensorRT can be built."""
    absent = [name for name in _EXPORT if version_of(name) is None]
    reason = f"{', '.join(absent)} not installed; a device needs none of it"
    export = (reason, "pip install 'motivnet[export]'") if absent else None
    trt = _missing_for_engines(here, "tensorrt")
    rtx = here.packages["tensorrt_rtx"]
    ahead = f"ahead of time, {rtx.detail.removeprefix('compiles ')}"
    for_all = missing_for_all(here.packages)
    return (
        _capability("ONNX artifact", "motivnet-export build", for_all or export),
        _capability("tensorrt engine", "on this GPU: motivnet build-engine", for_all or trt),
        _capability("tensorrt-rtx engine", ahead, for_all or _problem_of(rtx)),
    )


def find_runtimes(here: Environment) -> tuple[Capability, ...]:
    """Return whether each runtime can run here, in order of preference."""
    openvino, ort = here.packages["openvino"], here.packages["onnxruntime"]
    trt, rtx = _missing_for_engines(here, "tensorrt"), _missing_for_engines(here, "tensorrt-rtx")
    no_bf16: _Missing | None = None
    if "BF16" not in openvino.detail:
        no_bf16 = "the processor has no BF16 instructions", None
    runtimes: tuple[tuple[str, str, _Missing | None], ...] = (
        ("tensorrt", "engines that were built here", trt),
        ("tensorrt-rtx", "engines built for its SM", rtx),
        ("onnxruntime-cuda", "every artifact; proven when it is opened", _missing_for_cuda(here)),
        ("openvino-bf16", "every artifact, in BF16", _problem_of(openvino) or no_bf16),
        ("openvino", "every artifact, in FP32", _problem_of(openvino)),
        ("onnxruntime", "every artifact but BF16, in FP32", _problem_of(ort)),
    )
    for_all = missing_for_all(here.packages)
    return tuple(_capability(name, does, for_all or missing) for name, does, missing in runtimes)


def missing_for_all(packages: Mapping[str, PackageStatus]) -> tuple[str, str | None] | None:
    """Return which package that every command needs cannot be loaded, and the fix."""
    broken = next((packages[name] for name in REQUIRED if not packages[name].usable), None)
    return None if broken is None else _problem_of(broken)


def find_advice(here: Environment) -> tuple[str, ...]:
    """Return what to know about this TensorRT on this GPU before the first build."""
    version = here.packages["tensorrt"].version
    if version is None:
        return ()
    advice = []
    if not fused_supported("tensorrt", version):
        since = ".".join(map(str, FUSED_SINCE["tensorrt"]))
        on_jetson = ", and --precision bf16 or fp32 on a Jetson" if here.jetson else ""
        advice.append(
            f"tensorrt {version} is older than {since}: "
            f"export with --attention decomposed{on_jetson}"
        )
    capabilities: list[str | None] = [gpu.compute_capability for gpu in here.driver.gpus]
    for capability in capabilities or [None]:
        for precision, attention in _FORMS:
            advice += warnings_for(
                backend="tensorrt",
                version=version,
                compute_capability=capability,
                precision=precision,
                attention=attention,
            )
    return tuple(dict.fromkeys(advice))


def driver_fix(driver: NvidiaDriver, jetson: Jetson | None) -> str | None:
    """Return the command that gives a present GPU its driver; None if nothing has to be done."""
    if driver.gpus or not (driver.unused_gpu or jetson):
        return None
    if any(path.exists() for path in _CONTAINERS):
        return "docker run --runtime nvidia ..." if jetson else "docker run --gpus all ..."
    if jetson:
        return "sudo apt-get install -y nvidia-jetpack"
    return "sudo ubuntu-drivers install && sudo reboot"


def _capability(name: str, does: str, missing: _Missing | None) -> Capability:
    detail, fix = missing or (does, None)
    return Capability(name=name, possible=missing is None, detail=detail, fix=fix)


def _problem_of(package: PackageStatus) -> _Missing | None:
    return None if package.usable else (package.detail, package.fix)


def _missing_gpu(here: Environment) -> _Missing | None:
    if here.driver.missing_requirement is None:
        return None
    reason = f"needs an NVIDIA GPU: {here.driver.missing_requirement}"
    return reason, driver_fix(here.driver, here.jetson)


def _missing_for_engines(here: Environment, backend: EngineBackend) -> _Missing | None:
    if missing := _missing_gpu(here):
        return missing
    package = here.packages["tensorrt" if backend == "tensorrt" else "tensorrt_rtx"]
    if package.version is None:
        return f"{package.name} is not installed", package.fix
    if missing := _problem_of(package):
        return missing
    cuda = here.packages["cuda-python"]
    if not (cuda.usable or here.packages["pycuda"].usable):
        return "needs cuda-python or pycuda", cuda.fix
    return _unsupported_gpu(here.driver, backend) or too_new_wheel(backend, here.driver)


def _missing_for_cuda(here: Environment) -> _Missing | None:
    package = here.packages["onnxruntime"]
    if missing := _missing_gpu(here):
        return missing
    if not package.usable or "Provider" not in package.detail:
        return package.detail, package.fix
    if "CUDAExecutionProvider" not in package.detail:
        return "the onnxruntime here has no CUDA", package.fix
    return None


def _unsupported_gpu(driver: NvidiaDriver, backend: EngineBackend) -> _Missing | None:
    sm = driver.gpus[0].sm
    if backend == "tensorrt-rtx":
        if any(gpu.sm in RTX_COMPUTE_CAPABILITIES for gpu in driver.gpus):
            return None
        return f"TensorRT-RTX does not compile for SM {sm}", "pip install 'motivnet[trt]'"
    capabilities = [tuple(map(int, gpu.compute_capability.split("."))) for gpu in driver.gpus]
    if max(capabilities) >= _OLDEST:
        return None
    return f"needs SM 75 or later, and the GPU has SM {sm}", None

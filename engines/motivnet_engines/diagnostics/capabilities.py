"""What can be built and run on this machine, each with a reason and the command to fix it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from motivnet.artifact.engine_entry import EngineBackend
from motivnet.parity import AttentionForm, Precision
from motivnet_engines.build.known_issues import FUSED_SINCE, fused_supported, warnings_for
from motivnet_engines.diagnostics.packages import PackageStatus
from motivnet_engines.runtimes.tensorrt.api import RTX_COMPUTE_CAPABILITIES
from motivnet_engines.system.installed import version_of
from motivnet_engines.system.machine import Jetson
from motivnet_engines.system.nvidia import NvidiaDriver

_EXPORT = ("torch", "onnx", "onnx-ir", "onnxscript", "safetensors")
_CONTAINERS = (Path("/.dockerenv"), Path("/run/.containerenv"))
_OLDEST = (7, 5)
"""Turing, the first compute capability of TensorRT 10 and TensorRT-RTX."""

_WHEELS: dict[EngineBackend, str] = {"tensorrt": "tensorrt-cu", "tensorrt-rtx": "tensorrt-rtx-cu"}
_CUDA_MAJORS = (13, 12)
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
    missing = [name for name in _EXPORT if version_of(name) is None]
    detail, fix = "motivnet-export build", None
    if missing:
        detail = f"{', '.join(missing)} not installed; a device needs none of it"
        fix = "pip install 'motivnet[export]'"
    export = Capability(name="ONNX artifact", possible=not missing, detail=detail, fix=fix)
    trt = _engine(
        here, "tensorrt", name="tensorrt engine", does="on this GPU: motivnet build-engine"
    )
    package = here.packages["tensorrt_rtx"]
    detail = package.detail
    if package.usable:
        detail = f"ahead of time, {package.detail.removeprefix('compiles ')}"
    rtx = Capability(
        name="tensorrt-rtx engine", possible=package.usable, detail=detail, fix=package.fix
    )
    return export, trt, rtx


def find_runtimes(here: Environment) -> tuple[Capability, ...]:
    """Return whether each runtime can run here, in order of preference."""
    openvino, ort = here.packages["openvino"], here.packages["onnxruntime"]
    return (
        _engine(here, "tensorrt", name="tensorrt", does="engines that were built here"),
        _engine(here, "tensorrt-rtx", name="tensorrt-rtx", does="engines built for its SM"),
        _onnxruntime_cuda(here, ort),
        _openvino_bf16(openvino),
        _on_cpu("openvino", openvino, does="every artifact, in FP32"),
        _on_cpu("onnxruntime", ort, does="every artifact but BF16, in FP32"),
    )


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


def _engine(here: Environment, backend: EngineBackend, *, name: str, does: str) -> Capability:
    missing = _missing_requirement(here, backend)
    if missing is None:
        return Capability(name=name, possible=True, detail=does)
    detail, fix = missing
    return Capability(name=name, possible=False, detail=detail, fix=fix)


def _missing_requirement(
    here: Environment, backend: EngineBackend
) -> tuple[str, str | None] | None:
    """Return what this backend lacks on this machine, and the command to fix it."""
    package = here.packages["tensorrt" if backend == "tensorrt" else "tensorrt_rtx"]
    driver = here.driver
    if driver.missing_requirement is not None:
        fix = driver_fix(driver, here.jetson)
        return f"needs an NVIDIA GPU: {driver.missing_requirement}", fix
    if package.version is None:
        return f"{package.name} is not installed", package.fix
    if not package.usable:
        return package.detail, package.fix
    cuda = here.packages["cuda-python"]
    if not (cuda.usable or here.packages["pycuda"].usable):
        return "needs cuda-python or pycuda", cuda.fix
    return _unsupported_gpu(driver, backend) or _too_new_wheel(driver, backend)


def _unsupported_gpu(driver: NvidiaDriver, backend: EngineBackend) -> tuple[str, str | None] | None:
    sm = driver.gpus[0].sm
    if backend == "tensorrt-rtx":
        if any(gpu.sm in RTX_COMPUTE_CAPABILITIES for gpu in driver.gpus):
            return None
        return f"TensorRT-RTX does not compile for SM {sm}", "pip install 'motivnet[trt]'"
    capabilities = [tuple(map(int, gpu.compute_capability.split("."))) for gpu in driver.gpus]
    if max(capabilities) >= _OLDEST:
        return None
    return f"needs SM 75 or later, and the GPU has SM {sm}", None


def _too_new_wheel(driver: NvidiaDriver, backend: EngineBackend) -> tuple[str, str | None] | None:
    # A wheel for a newer CUDA than the driver's can be loaded, but each call gives cudaError 35.
    prefix = _WHEELS[backend]
    wheel = next((major for major in _CUDA_MAJORS if version_of(f"{prefix}{major}")), None)
    if wheel is None or driver.cuda_major is None or wheel <= driver.cuda_major:
        return None
    fix = f"pip uninstall -y {backend} {prefix}{wheel} && pip install {prefix}{driver.cuda_major}"
    return f"the wheel is for CUDA {wheel} and the driver for {driver.cuda}; update either", fix


def _onnxruntime_cuda(here: Environment, package: PackageStatus) -> Capability:
    fix = package.fix
    possible = False
    if here.driver.missing_requirement is not None:
        detail = f"needs an NVIDIA GPU: {here.driver.missing_requirement}"
        fix = driver_fix(here.driver, here.jetson)
    elif package.usable and "CUDAExecutionProvider" in package.detail:
        possible, detail = True, "every artifact; proven when it is opened"
    elif "Provider" in package.detail:
        detail = "the onnxruntime here has no CUDA"
    else:
        detail = package.detail
    return Capability(name="onnxruntime-cuda", possible=possible, detail=detail, fix=fix)


def _openvino_bf16(openvino: PackageStatus) -> Capability:
    if openvino.usable and "BF16" not in openvino.detail:
        detail = "the processor has no BF16 instructions"
        return Capability(name="openvino-bf16", possible=False, detail=detail)
    return _on_cpu("openvino-bf16", openvino, does="every artifact, in BF16")


def _on_cpu(name: str, package: PackageStatus, *, does: str) -> Capability:
    detail = does if package.usable else package.detail
    return Capability(name=name, possible=package.usable, detail=detail, fix=package.fix)

"""What can be built and what can be run on this machine, each with the reason and the line that repairs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from motivnet.artifact.manifest import AttentionForm, EngineBackend, Precision
from motivnet_engines.build.known_issues import FUSED_SINCE, fused_supported, warnings_for
from motivnet_engines.diagnostics.packages import PackageStatus, version_of
from motivnet_engines.runtimes.tensorrt.api import RTX_COMPUTE_CAPABILITIES
from motivnet_engines.system.jetson import Jetson
from motivnet_engines.system.nvidia import NvidiaDriver

_EXPORT = ("torch", "onnx", "onnx-ir", "onnxscript", "safetensors")
_CONTAINERS = (Path("/.dockerenv"), Path("/run/.containerenv"))
_OLDEST = (7, 5)
"""Turing: TensorRT 10 and TensorRT-RTX begin here."""

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
class Ability:
    """Something that can be built or run here, or cannot; ``detail`` says how or why not."""

    name: str
    possible: bool
    detail: str
    repair: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What abilities depend on: the packages by name, the driver, and the Jetson if it is one."""

    packages: Mapping[str, PackageStatus]
    driver: NvidiaDriver
    jetson: Jetson | None


def build_abilities(around: Surroundings) -> tuple[Ability, ...]:
    """The ONNX artifact, and an engine of each TensorRT."""
    missing = [name for name in _EXPORT if version_of(name) is None]
    export = Ability(
        name="ONNX artifact",
        possible=not missing,
        detail=f"{', '.join(missing)} not installed; a device needs none of it"
        if missing
        else "motivnet-export build",
        repair="pip install 'motivnet[export]'" if missing else None,
    )
    rtx = around.packages["tensorrt_rtx"]
    ahead = Ability(
        name="tensorrt-rtx engine",
        possible=rtx.usable,
        detail=f"ahead of time, {rtx.detail.removeprefix('compiles ')}"
        if rtx.usable
        else rtx.detail,
        repair=rtx.repair,
    )
    here = _engine_ability(
        around, "tensorrt", name="tensorrt engine", does="on this GPU: motivnet build-engine"
    )
    return export, here, ahead


def run_abilities(around: Surroundings) -> tuple[Ability, ...]:
    """Every runtime, in order of preference."""
    openvino, ort = around.packages["openvino"], around.packages["onnxruntime"]
    return (
        _engine_ability(around, "tensorrt", name="tensorrt", does="engines that were built here"),
        _engine_ability(
            around, "tensorrt-rtx", name="tensorrt-rtx", does="engines that were built for its SM"
        ),
        _ort_cuda(around, ort),
        _openvino_bf16(openvino),
        _plain("openvino", openvino, "every artifact, in FP32"),
        _plain("onnxruntime", ort, "every artifact but BF16, in FP32"),
    )


def advice_for(around: Surroundings) -> tuple[str, ...]:
    """What a person with this TensorRT on this GPU should know before the first build."""
    version = around.packages["tensorrt"].version
    if version is None:
        return ()
    advice = []
    if not fused_supported("tensorrt", version):
        since = ".".join(map(str, FUSED_SINCE["tensorrt"]))
        advice.append(
            f"tensorrt {version} is older than {since}: export with --attention decomposed"
            + (", and --precision bf16 or fp32 on a Jetson" if around.jetson else "")
        )
    capabilities: list[str | None] = [gpu.compute_capability for gpu in around.driver.gpus] or [
        None
    ]
    for capability in capabilities:
        for precision, attention in _FORMS:
            advice += warnings_for(
                backend="tensorrt",
                version=version,
                compute_capability=capability,
                precision=precision,
                attention=attention,
            )
    return tuple(dict.fromkeys(advice))


def driver_repair(driver: NvidiaDriver, jetson: Jetson | None) -> str | None:
    """The line that brings a driver to a GPU that is there; None where nothing can be done, or need be."""
    if driver.gpus or not (driver.unused_gpu or jetson):
        return None
    if any(path.exists() for path in _CONTAINERS):
        return "docker run --runtime nvidia ..." if jetson else "docker run --gpus all ..."
    return (
        "sudo apt-get install -y nvidia-jetpack"
        if jetson
        else "sudo ubuntu-drivers install && sudo reboot"
    )


def _engine_ability(
    around: Surroundings, backend: EngineBackend, *, name: str, does: str
) -> Ability:
    detail, repair = _obstacle(around, backend) or (None, None)
    return Ability(name=name, possible=detail is None, detail=detail or does, repair=repair)


def _obstacle(around: Surroundings, backend: EngineBackend) -> tuple[str, str | None] | None:
    """What is in the way of this backend on a GPU of this machine, and the line that repairs it."""
    package = around.packages["tensorrt" if backend == "tensorrt" else "tensorrt_rtx"]
    if around.driver.obstacle is not None:
        return f"needs an NVIDIA GPU: {around.driver.obstacle}", driver_repair(
            around.driver, around.jetson
        )
    if not package.usable:
        missing = package.version is None
        return f"{package.name} is not installed" if missing else package.detail, package.repair
    memory = around.packages["cuda-python"]
    if not (memory.usable or around.packages["pycuda"].usable):
        return "needs cuda-python or pycuda", memory.repair
    return _gpu_obstacle(around.driver, backend) or _wheel_obstacle(around.driver, backend)


def _gpu_obstacle(driver: NvidiaDriver, backend: EngineBackend) -> tuple[str, str | None] | None:
    if backend == "tensorrt":
        known = [
            gpu
            for gpu in driver.gpus
            if tuple(map(int, gpu.compute_capability.split("."))) >= _OLDEST
        ]
        return (
            None
            if known
            else (f"needs SM 75 or later, and the GPU has SM {driver.gpus[0].sm}", None)
        )
    if any(gpu.sm in RTX_COMPUTE_CAPABILITIES for gpu in driver.gpus):
        return None
    return (
        f"TensorRT-RTX does not compile for SM {driver.gpus[0].sm}",
        "pip install 'motivnet[trt]'",
    )


def _wheel_obstacle(driver: NvidiaDriver, backend: EngineBackend) -> tuple[str, str | None] | None:
    """A wheel for a newer CUDA than the driver's: it loads, and then every call fails with cudaError 35."""
    wheel = next(
        (major for major in _CUDA_MAJORS if version_of(f"{_WHEELS[backend]}{major}")), None
    )
    if wheel is None or driver.cuda_major is None or wheel <= driver.cuda_major:
        return None
    names = " ".join((backend, f"{_WHEELS[backend]}{wheel}"))
    repair = f"pip uninstall -y {names} && pip install {_WHEELS[backend]}{driver.cuda_major}"
    return f"the wheel is for CUDA {wheel} and the driver for {driver.cuda}; update either", repair


def _ort_cuda(around: Surroundings, ort: PackageStatus) -> Ability:
    if around.driver.obstacle is not None:
        repair = driver_repair(around.driver, around.jetson)
        return Ability(
            name="onnxruntime-cuda",
            possible=False,
            detail=f"needs an NVIDIA GPU: {around.driver.obstacle}",
            repair=repair,
        )
    possible = ort.usable and "CUDAExecutionProvider" in ort.detail
    lacks = "the onnxruntime here has no CUDA" if "Provider" in ort.detail else ort.detail
    detail = "every artifact; proven when it is opened" if possible else lacks
    return Ability(name="onnxruntime-cuda", possible=possible, detail=detail, repair=ort.repair)


def _openvino_bf16(openvino: PackageStatus) -> Ability:
    if not openvino.usable:
        return _plain("openvino-bf16", openvino, "")
    possible = "BF16" in openvino.detail
    detail = "every artifact, in BF16" if possible else "the processor has no BF16 instructions"
    return Ability(name="openvino-bf16", possible=possible, detail=detail)


def _plain(name: str, package: PackageStatus, does: str) -> Ability:
    detail = does if package.usable else package.detail
    return Ability(name=name, possible=package.usable, detail=detail, repair=package.repair)

"""The options of an engine, checked before any builder is started."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from motivnet.artifact.engine_entry import EngineBackend, HardwareCompatibility, ShapeProfile
from motivnet.artifact.manifest import InputEntry, Manifest
from motivnet.errors import ConfigError
from motivnet.parity import Precision
from motivnet_engines.runtimes.tensorrt.api import RTX_COMPUTE_CAPABILITIES

_LEAST: dict[Precision, int] = {"bf16": 80, "fp8": 89}
"""The first compute capability whose tensor cores support the dtype."""

DEFAULT_MAX_SIZE = (2160, 3840)
MIN_SIDE = 16
MAX_SIDE = 4096
"""Pixels of the smallest and the largest image side in the profile of an input of any size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """The options of ``build-engine``; ``max_batch`` None means the artifact's.

    ``workspace`` is in bytes. It, ``timing_cache`` and the two compatibilities are for ``tensorrt``
    only; ``compute_capabilities`` (such as ``86``; empty for the portable default) are for
    TensorRT-RTX only. ``optimisation_level`` is 0 to 5, the builder's default if None. ``max_size``
    is the largest (height, width) of an input of any size, ``DEFAULT_MAX_SIZE`` if None.
    """

    backend: EngineBackend
    opt_batch: int = 1
    max_batch: int | None = None
    max_size: tuple[int, int] | None = None
    workspace: int | None = None
    timing_cache: Path | None = None
    optimisation_level: int | None = None
    hardware_compatibility: HardwareCompatibility = "none"
    version_compatible: bool = False
    weight_streaming: bool = False
    compute_capabilities: tuple[str, ...] = ()

    def profile_for(self, manifest: Manifest) -> ShapeProfile:
        """Return the profile of an engine of this artifact: batches from 1, and image sizes."""
        max_batch = manifest.max_batch if self.max_batch is None else self.max_batch
        height, width = size = manifest.input.preprocessing.size
        smallest = largest = size
        if manifest.input.any_size:
            smallest = MIN_SIDE, MIN_SIDE
            default = max(DEFAULT_MAX_SIZE[0], height), max(DEFAULT_MAX_SIZE[1], width)
            largest = self.max_size or default
        return ShapeProfile(
            min_batch=1,
            opt_batch=min(self.opt_batch, max_batch),
            max_batch=max_batch,
            min_size=smallest,
            opt_size=size,
            max_size=largest,
        )


def check_options(options: EngineOptions, manifest: Manifest) -> None:
    """Check that some machine can build an engine of this artifact with these options.

    Raises:
        ConfigError: With every problem, one after another.
    """
    if manifest.quantisation is not None:
        raise ConfigError(
            "the artifact was quantised for OpenVINO on a CPU, where TensorRT would place its "
            "scales otherwise; build one for TensorRT: motivnet-export build --int8"
        )
    if problems := [*_range_problems(options, manifest), *_backend_problems(options, manifest)]:
        raise ConfigError("; ".join(problems))


def check_target(options: EngineOptions, precision: Precision) -> None:
    """Check that the backend and its GPUs support this precision, before there is a graph.

    Raises:
        ConfigError: With every problem, one after another.
    """
    if problems := _target_problems(options, precision):
        raise ConfigError("; ".join(problems))


def precision_problem(precision: Precision, compute_capability: str) -> str | None:
    """Return why a GPU of a compute capability such as ``86`` lacks a precision, None if not."""
    least = _LEAST.get(precision, 0)
    if int(compute_capability) >= least:
        return None
    return f"SM {compute_capability} has no {precision.upper()}; it begins at SM {least}"


def _range_problems(options: EngineOptions, manifest: Manifest) -> list[str]:
    problems = []
    if options.max_batch is not None and not 1 <= options.max_batch <= manifest.max_batch:
        problems.append(
            f"--max-batch must be 1 to {manifest.max_batch} for this artifact, "
            f"not {options.max_batch}"
        )
    largest = manifest.max_batch if options.max_batch is None else options.max_batch
    if not 1 <= options.opt_batch <= max(1, largest):
        problems.append(
            f"--opt-batch must be 1 to {largest}, the largest batch, not {options.opt_batch}"
        )
    if options.optimisation_level is not None and not 0 <= options.optimisation_level <= 5:
        problems.append(f"--optimisation-level must be 0 to 5, not {options.optimisation_level}")
    if options.workspace is not None and options.workspace < 1 << 20:
        problems.append(f"--workspace must be at least 1 MiB, not {options.workspace} bytes")
    return problems + _size_problems(options, manifest.input)


def _size_problems(options: EngineOptions, entry: InputEntry) -> list[str]:
    if options.max_size is None:
        return []
    if not entry.any_size:
        return [
            "--max-image is for an artifact with --input image: "
            "the images of this one have one size"
        ]
    (height, width), (tall, wide) = entry.preprocessing.size, options.max_size
    if height <= tall <= MAX_SIDE and width <= wide <= MAX_SIDE:
        return []
    return [
        f"--max-image must be {height}x{width} to {MAX_SIDE}x{MAX_SIDE} for this artifact, "
        f"not {tall}x{wide}"
    ]


def _backend_problems(options: EngineOptions, manifest: Manifest) -> list[str]:
    if manifest.kind != "onnx":
        return [
            "the artifact is an engine alone; build from the artifact that holds the ONNX graph"
        ]
    problems = _target_problems(options, manifest.precision)
    if manifest.attention == "fused" and manifest.precision == "fp32":
        problems.append(
            "TensorRT has no fused attention in FP32; build the ONNX artifact with "
            "--attention decomposed or --fp16"
        )
    return problems


def _target_problems(options: EngineOptions, precision: Precision) -> list[str]:
    if options.backend == "tensorrt-rtx":
        return _rtx_problems(options, precision)
    if options.compute_capabilities:
        return ["--sm is for tensorrt-rtx only: tensorrt builds for the GPU of this machine"]
    return []


def _rtx_problems(options: EngineOptions, precision: Precision) -> list[str]:
    names = {
        "--workspace": options.workspace is not None,
        "--timing-cache": options.timing_cache is not None,
        "--hardware-compatibility": options.hardware_compatibility != "none",
        "--version-compatible": options.version_compatible,
    }
    problems = [
        f"{name} is for tensorrt only: TensorRT-RTX has none"
        for name, given in names.items()
        if given
    ]
    for name in options.compute_capabilities:
        problems += _capability_problems(name, precision)
    if precision == "fp8" and not options.compute_capabilities:
        problems.append(
            "FP8 needs --sm 89 or later: the portable engine begins at Ampere, which has no FP8"
        )
    if len(set(options.compute_capabilities)) != len(options.compute_capabilities):
        problems.append("--sm names a compute capability twice")
    return problems


def _capability_problems(name: str, precision: Precision) -> list[str]:
    if name not in RTX_COMPUTE_CAPABILITIES:
        known = ", ".join(RTX_COMPUTE_CAPABILITIES)
        return [
            f"TensorRT-RTX does not compile for SM {name} (only {known}); "
            "use tensorrt on that device"
        ]
    if precision == "fp32" and name == "75":
        return ["TensorRT-RTX has no FP32 matrix product for SM 75 (Turing); build in FP16"]
    problem = precision_problem(precision, name)
    return [] if problem is None else [problem]


def compute_capabilities_from_text(text: str | None) -> tuple[str, ...]:
    """Return the names in ``86,89``; also ``8.6``, ``sm86`` and ``sm_86``; none of None.

    Raises:
        ConfigError: If a part is not a number.
    """
    if text is None:
        return ()
    names = tuple(
        part.strip().lower().removeprefix("sm").lstrip("_").replace(".", "")
        for part in text.split(",")
    )
    if not all(name.isascii() and name.isdigit() for name in names):
        raise ConfigError(f"--sm {text!r} is not a list of compute capabilities such as 86,89")
    return names


def bytes_from_gib(gib: float | None) -> int | None:
    """Return the bytes of so many GiB; None stays None.

    Raises:
        ConfigError: If it is not a positive, finite number.
    """
    if gib is None:
        return None
    if not 0 < gib < 2**20:
        raise ConfigError(f"--workspace must be a positive number of GiB, not {gib:g}")
    return int(gib * 2**30)


def size_from_text(text: str | None) -> tuple[int, int] | None:
    """Return (height, width) in pixels from ``1080x1920``; None stays None.

    Raises:
        ConfigError: If it is not two numbers.
    """
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.isascii() and side.isdigit() for side in sides):
        raise ConfigError(f"--max-image {text!r} is not a height and a width such as 1080x1920")
    return int(sides[0]), int(sides[1])

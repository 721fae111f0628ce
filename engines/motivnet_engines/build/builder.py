"""An engine file out of an ONNX graph, built in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from motivnet.artifact.manifest import (
    EngineBackend,
    EngineDevice,
    EngineProof,
    Manifest,
    ShapeProfile,
)
from motivnet.errors import RuntimeUnavailableError
from motivnet.files import atomic_path, open_regular
from motivnet.progress import progress
from motivnet_engines.build.child import run_worker
from motivnet_engines.build.messages import Request
from motivnet_engines.build.options import EngineOptions, check_options
from motivnet_engines.runtimes.tensorrt.compatibility import this_platform
from motivnet_engines.system.nvidia import cuda_device_count


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltEngine:
    """What a build gave: the builder's version, the machine, the profile, the proof, and what it
    cost.

    ``device`` is the GPU of the build; None for TensorRT-RTX, which compiles without one.
    ``peak_bytes`` is the largest resident memory of the process that built.
    """

    version: str
    platform: str
    device: EngineDevice | None
    profile: ShapeProfile
    proof: EngineProof
    seconds: float
    peak_bytes: int


def engine_from_onnx(
    onnx: Path,
    out: Path,
    *,
    manifest: Manifest,
    options: EngineOptions,
    announce: Callable[[str], None],
) -> BuiltEngine:
    """Compiles the graph of an artifact into a plain engine file at ``out``, whole or not at all.

    A ``KeyboardInterrupt`` ends the build within two seconds and leaves nothing behind.

    Args:
        onnx: The graph, with its weights beside it where they are not in it.
        manifest: What the graph is promised to be.
        announce: Hears each of the builder's own warnings.

    Raises:
        ConfigError: If no machine could build this.
        RuntimeUnavailableError: If this one cannot, for it has no GPU.
        MissingDependencyError: If the backend's package is not installed.
        EngineError: If the parser or the compiler refuses the graph, or crashes.
        FileError: If ``onnx`` is no regular file, or ``out`` cannot be written.
    """
    check_options(options, manifest)
    check_machine(options.backend)
    open_regular(onnx).close()
    started = time.monotonic()
    with (
        atomic_path(out) as temporary,
        progress(f"building the {options.backend} engine", total=1.0) as advance,
    ):
        success = run_worker(
            onnx,
            temporary,
            request=Request(manifest=manifest, options=options),
            on_advance=_steps(advance),
        )
    for warning in success.warnings:
        announce(f"{options.backend}: {warning}")
    return BuiltEngine(
        version=success.version,
        platform=this_platform(),
        device=success.device,
        profile=options.profile_for(manifest),
        proof=success.proof,
        seconds=time.monotonic() - started,
        peak_bytes=success.peak_bytes,
    )


def check_machine(backend: EngineBackend) -> None:
    """Returns when engines of this backend can be built here: ``tensorrt`` times its kernels on the
    GPU.

    Raises:
        RuntimeUnavailableError: Naming the two ways out.
    """
    if backend == "tensorrt" and cuda_device_count() == 0:
        raise RuntimeUnavailableError(
            "this machine has no NVIDIA GPU, and tensorrt builds only on the GPU that the engine is for; run "
            "'motivnet build-engine' on the device, or compile ahead of time here for RTX GPUs: "
            "--target tensorrt-rtx, or for build-engine --backend tensorrt-rtx"
        )


def _steps(advance: Callable[[float], None]) -> Callable[[float], None]:
    """Turns fractions done into what the bar takes: how much more than before."""
    reached = 0.0

    def on_advance(fraction: float) -> None:
        nonlocal reached
        advance(fraction - reached)
        reached = fraction

    return on_advance

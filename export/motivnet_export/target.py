"""What ``--target`` stands for on this machine, and the line that says what came of it."""

from __future__ import annotations

from typing import Literal

from motivnet.artifact import Artifact
from motivnet.errors import ConfigError
from motivnet_engines.build.backend import available_backend
from motivnet_engines.build.options import EngineOptions, compute_capabilities_from_text
from motivnet_engines.diagnostics.engine_text import engine_text

Target = Literal["auto", "onnx", "tensorrt", "tensorrt-rtx"]


def engine_for_target(target: Target, *, sm: str | None) -> EngineOptions | None:
    """What is to be compiled; None where the ONNX graph is all.

    Args:
        sm: Compute capabilities such as ``86,89``, for TensorRT-RTX.

    Raises:
        ConfigError: If ``sm`` is given and cannot be used.
    """
    backend = available_backend() if target == "auto" else target
    if backend is None or backend == "onnx":
        if sm is not None:
            raise ConfigError(
                "--sm is for --target tensorrt-rtx, which compiles for GPUs that are not here"
            )
        return None
    return EngineOptions(backend=backend, compute_capabilities=compute_capabilities_from_text(sm))


def headline_of_target(target: Target, artifact: Artifact) -> str:
    """What was compiled, how far it was proven, and what to do for more."""
    if artifact.manifest.engines:
        return engine_text(artifact.manifest.engines[-1], artifact.folder)
    if target == "onnx":
        return f"none was asked for; to compile one: motivnet build-engine {artifact.folder}"
    if available_backend() is not None:
        return (
            "none: the warning above says why; --target tensorrt or tensorrt-rtx makes it an error"
        )
    return (
        "none: no TensorRT with a GPU and no TensorRT-RTX here; pip install 'motivnet[rtx]' to compile ahead of time, "
        f"or on the device: motivnet build-engine {artifact.folder}"
    )

"""The one dispatch: which runtimes there are, which can open an artifact here, and which one does."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from motivnet.artifact import Artifact, open_artifact
from motivnet.errors import ConfigError, MissingDependencyError, MotivNetError, RuntimeUnavailableError
from motivnet.manifest import Comparison, Manifest, Precision
from motivnet.runtime import Runtime, TensorSpec, check_inputs

__all__ = [
    "RUNTIMES",
    "Runtime",
    "TensorSpec",
    "Verdict",
    "check_inputs",
    "check_possible",
    "default_runtime",
    "installed_runtimes",
    "is_default_choice",
    "open_backend",
    "open_runtime",
    "verdict",
]

logger = logging.getLogger(__name__)

Verdict = Literal["verified", "failed", "unverified"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Backend:
    """How a runtime is checked and opened; ``rounds_fp32`` where it computes an FP32 graph in a smaller dtype."""

    package: str
    extra: str
    check: Callable[[Precision], None]
    open: Callable[[Artifact, int | None], Runtime]
    rounds_fp32: bool = False


def _check_ort(device: Literal["cpu", "cuda"], precision: Precision) -> None:
    from motivnet_engines.ort import check_device

    check_device(device, precision=precision)


def _open_ort(device: Literal["cpu", "cuda"], artifact: Artifact, threads: int | None) -> Runtime:
    from motivnet_engines.ort import OnnxRuntime

    return OnnxRuntime(artifact, device=device, threads=threads)


def _check_openvino(compute: Literal["float32", "bfloat16"], _: Precision) -> None:
    from motivnet_engines.openvino import check_compute

    check_compute(compute)


def _open_openvino(compute: Literal["float32", "bfloat16"], artifact: Artifact, threads: int | None) -> Runtime:
    from motivnet_engines.openvino import OpenVINORuntime

    return OpenVINORuntime(artifact, compute=compute, threads=threads)


_BACKENDS: dict[str, _Backend] = {
    "onnxruntime-cuda": _Backend(
        package="onnxruntime", extra="gpu", check=partial(_check_ort, "cuda"), open=partial(_open_ort, "cuda")
    ),
    "openvino-bf16": _Backend(
        package="openvino",
        extra="cpu",
        check=partial(_check_openvino, "bfloat16"),
        open=partial(_open_openvino, "bfloat16"),
        rounds_fp32=True,
    ),
    "openvino": _Backend(
        package="openvino",
        extra="cpu",
        check=partial(_check_openvino, "float32"),
        open=partial(_open_openvino, "float32"),
    ),
    "onnxruntime": _Backend(
        package="onnxruntime", extra="cpu", check=partial(_check_ort, "cpu"), open=partial(_open_ort, "cpu")
    ),
}

RUNTIMES: tuple[str, ...] = tuple(_BACKENDS)
"""The names in order of preference: the fastest first."""


def open_runtime(folder: Path | str | Artifact, *, runtime: str | None = None, threads: int | None = None) -> Runtime:
    """An artifact, open: by the runtime named, else by ``default_runtime``.

    A runtime named here is opened even if the gate never saw it or refused it; a warning is logged then.

    Args:
        folder: The artifact's folder, or the artifact already read.
        threads: Threads of one call on the CPU; the runtime's own choice if None.

    Raises:
        ArtifactError: If the artifact cannot be trusted or is not what the runtime can read.
        ConfigError: If no runtime has that name.
        MissingDependencyError: If the runtime's package is not installed.
        RuntimeUnavailableError: If the runtime cannot run here, or none was verified.
    """
    artifact = folder if isinstance(folder, Artifact) else open_artifact(folder)
    if runtime is None:
        runtime = default_runtime(artifact)
    else:
        _backend(runtime)
        _warn_unless_verified(artifact.manifest, runtime)
    return open_backend(runtime, artifact, threads=threads)


def open_backend(name: str, artifact: Artifact, *, threads: int | None = None) -> Runtime:
    """An artifact opened by the runtime of this name, whatever the gate said of it.

    Raises:
        ArtifactError, ConfigError, MissingDependencyError, RuntimeUnavailableError: As ``open_runtime``.
    """
    backend = _backend(name)
    check_possible(name, artifact.manifest.precision)
    return backend.open(artifact, threads)


def installed_runtimes(artifact: Artifact) -> tuple[str, ...]:
    """The names of the runtimes that can open the artifact on this machine, in order of preference."""
    return tuple(name for name in RUNTIMES if _is_possible(name, artifact.manifest.precision))


def default_runtime(artifact: Artifact) -> str:
    """The first runtime that can run here, passed the gate, and computes in no smaller dtype than an FP32 artifact's.

    Raises:
        RuntimeUnavailableError: If there is none.
    """
    installed = installed_runtimes(artifact)
    for name in installed:
        if is_default_choice(artifact.manifest, name):
            return name
    if not installed:
        raise RuntimeUnavailableError("no runtime is installed; install some with: pip install 'motivnet[cpu]'")
    raise RuntimeUnavailableError(
        f"no runtime that runs here passed the gate when {artifact.folder} was built "
        f"(running here: {', '.join(installed)}); choose one with --runtime NAME, or build the artifact again here"
    )


def check_possible(name: str, precision: Precision) -> None:
    """Returns when the runtime is installed here and can run a graph of this precision.

    Raises:
        ConfigError: If no runtime has that name.
        MissingDependencyError: If its package is not installed.
        RuntimeUnavailableError: If the processor, the driver or the package cannot do it.
    """
    backend = _backend(name)
    if importlib.util.find_spec(backend.package) is None:
        raise MissingDependencyError(backend.package, extra=backend.extra)
    backend.check(precision)


def verdict(manifest: Manifest, name: str) -> Verdict:
    """What the gate of the build said of this runtime."""
    comparisons = _comparisons(manifest, name)
    if not comparisons:
        return "unverified"
    return "verified" if all(comparison.passed for comparison in comparisons) else "failed"


def is_default_choice(manifest: Manifest, name: str) -> bool:
    """Whether the gate and the artifact's precision allow this runtime to be chosen for the user."""
    rounds = _backend(name).rounds_fp32 and manifest.precision == "fp32"
    return not rounds and verdict(manifest, name) == "verified"


def _comparisons(manifest: Manifest, name: str) -> list[Comparison]:
    """Those in which this runtime computed: as ``graph`` where it does so in float32, else as ``runtime``."""
    return [row for row in manifest.parity.comparisons if row.backend == name and row.evidence != "rounding"]


def _warn_unless_verified(manifest: Manifest, name: str) -> None:
    state = verdict(manifest, name)
    if state == "unverified":
        logger.warning("%s was not compared with PyTorch when this artifact was built", name)
    elif state == "failed":
        failures = [failure for comparison in _comparisons(manifest, name) for failure in comparison.failures]
        logger.warning("%s failed the gate when this artifact was built: %s", name, "; ".join(failures))


def _is_possible(name: str, precision: Precision) -> bool:
    try:
        check_possible(name, precision)
    except MotivNetError:
        return False
    return True


def _backend(name: str) -> _Backend:
    if name not in _BACKENDS:
        raise ConfigError(f"no runtime is called {name!r}; the runtimes are {', '.join(RUNTIMES)}")
    return _BACKENDS[name]

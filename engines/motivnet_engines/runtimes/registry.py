"""The one dispatch: which runtimes there are, which can open an artifact here, and which one does."""

from __future__ import annotations

import functools
import importlib.util
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from motivnet.artifact import Artifact, open_artifact
from motivnet.artifact.manifest import Comparison, EngineBackend, Manifest
from motivnet.errors import (
    ConfigError,
    MissingDependencyError,
    MotivNetError,
    RuntimeUnavailableError,
)
from motivnet.runtime import Runtime, TensorSpec, check_inputs
from motivnet_engines.runtimes.own_engines import strange_engine, way_to_trust

__all__ = [
    "RUNTIMES",
    "Runtime",
    "TensorSpec",
    "Verdict",
    "check_engines",
    "check_inputs",
    "check_names",
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
    check: Callable[[Manifest], None]
    open: Callable[[Artifact, int | None], Runtime]
    rounds_fp32: bool = False


def _check_ort(device: Literal["cpu", "cuda"], manifest: Manifest) -> None:
    from motivnet_engines.runtimes.onnxruntime_ import check_device

    _check_has_graph(manifest)
    check_device(device, precision=manifest.precision)


def _open_ort(device: Literal["cpu", "cuda"], artifact: Artifact, threads: int | None) -> Runtime:
    from motivnet_engines.runtimes.onnxruntime_ import OnnxRuntime

    return OnnxRuntime(artifact, device=device, threads=threads)


def _check_openvino(compute: Literal["float32", "bfloat16"], manifest: Manifest) -> None:
    from motivnet_engines.runtimes.openvino_ import check_compute

    _check_has_graph(manifest)
    check_compute(compute)


def _open_openvino(
    compute: Literal["float32", "bfloat16"], artifact: Artifact, threads: int | None
) -> Runtime:
    from motivnet_engines.runtimes.openvino_ import OpenVINORuntime

    return OpenVINORuntime(artifact, compute=compute, threads=threads)


def _check_engine(backend: EngineBackend, manifest: Manifest) -> None:
    if manifest.engine(backend) is None:
        raise RuntimeUnavailableError(
            f"the artifact has no {backend} engine; build one here with: motivnet build-engine"
        )
    from motivnet_engines.runtimes.tensorrt.compatibility import check_engine

    check_engine(manifest, backend)


def _open_engine(backend: EngineBackend, artifact: Artifact, _: int | None) -> Runtime:
    from motivnet_engines.runtimes.tensorrt.runtime import TensorRTRuntime

    return TensorRTRuntime(artifact, backend=backend)


def _check_has_graph(manifest: Manifest) -> None:
    if manifest.kind != "onnx":
        raise RuntimeUnavailableError(
            "the artifact is an engine alone; its ONNX graph stayed where it was built"
        )


_BACKENDS: dict[str, _Backend] = {
    "tensorrt": _Backend(
        package="tensorrt",
        extra="trt",
        check=partial(_check_engine, "tensorrt"),
        open=partial(_open_engine, "tensorrt"),
    ),
    "tensorrt-rtx": _Backend(
        package="tensorrt_rtx",
        extra="rtx",
        check=partial(_check_engine, "tensorrt-rtx"),
        open=partial(_open_engine, "tensorrt-rtx"),
    ),
    "onnxruntime-cuda": _Backend(
        package="onnxruntime",
        extra="gpu",
        check=partial(_check_ort, "cuda"),
        open=partial(_open_ort, "cuda"),
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
        package="onnxruntime",
        extra="cpu",
        check=partial(_check_ort, "cpu"),
        open=partial(_open_ort, "cpu"),
    ),
}

RUNTIMES: tuple[str, ...] = tuple(_BACKENDS)
"""The names in order of preference: the fastest first."""


def open_runtime(
    folder: Path | str | Artifact,
    *,
    runtime: str | None = None,
    threads: int | None = None,
    trust_engines: bool = False,
) -> Runtime:
    """An artifact, open: by the runtime named, else by ``default_runtime``.

    A runtime named here is opened even if the gate never saw it or refused it; a warning is logged
    then.

    Args:
        folder: The artifact's folder, or the artifact already read.
        threads: Threads of one call on the CPU; the runtime's own choice if None.
        trust_engines: As ``default_runtime``.

    Raises:
        ArtifactError: If the artifact cannot be trusted or is not what the runtime can read.
        ConfigError: If no runtime has that name.
        MissingDependencyError: If the runtime's package is not installed.
        RuntimeUnavailableError: If the runtime cannot run here, or none was verified.
    """
    artifact = folder if isinstance(folder, Artifact) else open_artifact(folder)
    if runtime is None:
        runtime = default_runtime(artifact, trust_engines=trust_engines)
    else:
        _backend(runtime)
        _warn_unless_verified(artifact.manifest, runtime)
    return open_backend(runtime, artifact, threads=threads)


def open_backend(name: str, artifact: Artifact, *, threads: int | None = None) -> Runtime:
    """An artifact opened by the runtime of this name, whatever the gate said of it.

    Raises:
        ArtifactError, ConfigError, MissingDependencyError, RuntimeUnavailableError: As
        ``open_runtime``.
    """
    backend = _backend(name)
    check_possible(name, artifact.manifest)
    return backend.open(artifact, threads)


def installed_runtimes(artifact: Artifact, *, trust_engines: bool = False) -> tuple[str, ...]:
    """The names of the runtimes that may open the artifact on this machine unasked, in order of
    preference.

    A strange engine, which this user did not build here, is left out with a warning.

    Args:
        trust_engines: Whether strange engines may be run too. They are native code.
    """
    possible = [name for name in RUNTIMES if _is_possible(name, artifact.manifest)]
    strange = [name for name in possible if not trust_engines and strange_engine(artifact, name)]
    installed = tuple(name for name in possible if name not in strange)
    for name in strange if installed else ():
        _tell_of_strange_engine(artifact.folder, name)
    return installed


def default_runtime(artifact: Artifact, *, trust_engines: bool = False) -> str:
    """The first runtime that can run here, passed the gate, and computes in no smaller dtype than
    an FP32 artifact's.

    Args:
        trust_engines: As ``installed_runtimes``.

    Raises:
        RuntimeUnavailableError: If there is none.
    """
    installed = installed_runtimes(artifact, trust_engines=trust_engines)
    for name in installed:
        if is_default_choice(artifact.manifest, name):
            return name
    if not installed:
        check_engines(artifact)
        raise RuntimeUnavailableError(
            "no runtime is installed; install some with: pip install 'motivnet[cpu]'"
        )
    raise RuntimeUnavailableError(
        f"no runtime that runs here passed the gate when {artifact.folder} was built "
        f"(running here: {', '.join(installed)}); choose one with --runtime NAME, or build the artifact again here"
    )


def check_engines(artifact: Artifact) -> None:
    """Returns when no engine explains why an artifact has no runtime: not by what it needs, nor by
    who built it.

    Raises:
        MissingDependencyError, RuntimeUnavailableError: Naming the engine.
    """
    manifest = artifact.manifest
    for engine in manifest.engines:
        if manifest.kind == "engine":
            check_possible(engine.backend, manifest)
        if _is_possible(engine.backend, manifest):
            raise RuntimeUnavailableError(
                f"{artifact.folder} has only a {engine.backend} engine that runs here, and this user did not build "
                f"it on this machine; {way_to_trust(f'--runtime {engine.backend}')}"
            )


def check_possible(name: str, manifest: Manifest) -> None:
    """Returns when the runtime is installed here and can run the artifact of this manifest.

    Raises:
        ConfigError: If no runtime has that name.
        MissingDependencyError: If its package is not installed.
        RuntimeUnavailableError: If the processor, the driver, the GPU or the package cannot do it,
            or the artifact holds nothing for it.
    """
    backend = _backend(name)
    if importlib.util.find_spec(backend.package) is None:
        raise MissingDependencyError(backend.package, extra=backend.extra)
    backend.check(manifest)


def check_names(names: Iterable[str]) -> None:
    """Returns when each is the name of a runtime.

    Raises:
        ConfigError: Naming the first that is not, and those there are.
    """
    for name in names:
        _backend(name)


def verdict(manifest: Manifest, name: str) -> Verdict:
    """What the gate of the build said of this runtime."""
    comparisons = _comparisons(manifest, name)
    if not comparisons:
        return "unverified"
    return "verified" if all(comparison.passed for comparison in comparisons) else "failed"


def is_default_choice(manifest: Manifest, name: str) -> bool:
    """Whether the gate and the artifact's precision allow this runtime to be chosen for the user.

    An engine that was compiled ahead of time may be chosen before its first verdict: it runs the
    artifact's reference inputs each time that it is opened, and does not open if it is too far from
    PyTorch.
    """
    rounds = _backend(name).rounds_fp32 and manifest.precision == "fp32"
    state = verdict(manifest, name)
    checks_itself = manifest.engine(name) is not None and manifest.reference is not None
    return not rounds and (state == "verified" or (state == "unverified" and checks_itself))


def _comparisons(manifest: Manifest, name: str) -> list[Comparison]:
    """Those in which this runtime computed: as ``graph`` where it does so in float32, else as ``runtime``."""
    engine = manifest.engine(name)
    if engine is not None:
        return [] if engine.comparison is None else [engine.comparison]
    return [
        row
        for row in manifest.parity.comparisons
        if row.backend == name and row.evidence != "rounding"
    ]


def _warn_unless_verified(manifest: Manifest, name: str) -> None:
    state = verdict(manifest, name)
    if state == "unverified":
        logger.warning("%s was not compared with PyTorch when this artifact was built", name)
    elif state == "failed":
        failures = [
            failure
            for comparison in _comparisons(manifest, name)
            for failure in comparison.failures
        ]
        logger.warning(
            "%s failed the gate when this artifact was built: %s", name, "; ".join(failures)
        )


@functools.cache
def _tell_of_strange_engine(folder: Path, backend: str) -> None:
    """Once per process: a command may ask for the runtimes of its artifact several times."""
    logger.warning(
        "the %s engine of %s is not used, as this user did not build it on this machine; %s",
        backend,
        folder,
        way_to_trust(f"--runtime {backend}"),
    )


def _is_possible(name: str, manifest: Manifest) -> bool:
    try:
        check_possible(name, manifest)
    except MotivNetError:
        return False
    return True


def _backend(name: str) -> _Backend:
    if name not in _BACKENDS:
        raise ConfigError(f"no runtime is called {name!r}; the runtimes are {', '.join(RUNTIMES)}")
    return _BACKENDS[name]

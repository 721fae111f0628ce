"""The runtimes by name: what each one needs, whether it can open an artifact here, and how."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from motivnet.artifact import Artifact
from motivnet.artifact.engine_entry import EngineBackend
from motivnet.artifact.manifest import Manifest
from motivnet.errors import ConfigError, MissingDependencyError, RuntimeUnavailableError
from motivnet.runtime import Runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Backend:
    """How a runtime is checked and opened.

    ``rounds_fp32`` tells that it computes an FP32 graph in a smaller dtype.
    """

    package: str
    extra: str
    check: Callable[[Manifest], None]
    open: Callable[[Artifact, int | None], Runtime]
    rounds_fp32: bool = False


def _tensorrt(backend: EngineBackend, *, package: str, extra: str) -> _Backend:
    def check(manifest: Manifest) -> None:
        if manifest.engine(backend) is None:
            raise RuntimeUnavailableError(
                f"the artifact has no {backend} engine; build one here with: motivnet build-engine"
            )
        from motivnet_engines.runtimes.tensorrt.compatibility import check_engine

        check_engine(manifest, backend)

    def open_engine(artifact: Artifact, threads: int | None) -> Runtime:  # noqa: ARG001 - GPU only
        from motivnet_engines.runtimes.tensorrt.runtime import TensorRTRuntime

        return TensorRTRuntime(artifact, backend=backend)

    return _Backend(package=package, extra=extra, check=check, open=open_engine)


def _onnxruntime(device: Literal["cpu", "cuda"], *, extra: str) -> _Backend:
    def check(manifest: Manifest) -> None:
        from motivnet_engines.runtimes.onnxruntime_ import check_device

        _check_has_graph(manifest)
        check_device(device, precision=manifest.precision)

    def open_graph(artifact: Artifact, threads: int | None) -> Runtime:
        from motivnet_engines.runtimes.onnxruntime_ import OnnxRuntime

        return OnnxRuntime(artifact, device=device, threads=threads)

    return _Backend(package="onnxruntime", extra=extra, check=check, open=open_graph)


def _openvino(compute: Literal["float32", "bfloat16"]) -> _Backend:
    def check(manifest: Manifest) -> None:
        from motivnet_engines.runtimes.openvino_ import check_compute

        _check_has_graph(manifest)
        check_compute(compute)

    def open_graph(artifact: Artifact, threads: int | None) -> Runtime:
        from motivnet_engines.runtimes.openvino_ import OpenVINORuntime

        return OpenVINORuntime(artifact, compute=compute, threads=threads)

    return _Backend(
        package="openvino",
        extra="cpu",
        check=check,
        open=open_graph,
        rounds_fp32=compute == "bfloat16",
    )


def _check_has_graph(manifest: Manifest) -> None:
    if manifest.kind != "onnx":
        raise RuntimeUnavailableError(
            "the artifact is an engine alone; its ONNX graph stayed where it was built"
        )


_BACKENDS: dict[str, _Backend] = {
    "tensorrt": _tensorrt("tensorrt", package="tensorrt", extra="trt"),
    "tensorrt-rtx": _tensorrt("tensorrt-rtx", package="tensorrt_rtx", extra="rtx"),
    "onnxruntime-cuda": _onnxruntime("cuda", extra="gpu"),
    "openvino-bf16": _openvino("bfloat16"),
    "openvino": _openvino("float32"),
    "onnxruntime": _onnxruntime("cpu", extra="cpu"),
}

RUNTIMES: tuple[str, ...] = tuple(_BACKENDS)
"""The names in order of preference, the fastest first."""


def open_backend(name: str, artifact: Artifact, *, threads: int | None = None) -> Runtime:
    """Open an artifact with the runtime of this name, whether or not it passed the parity check.

    Raises:
        ArtifactError, ConfigError, MissingDependencyError, RuntimeUnavailableError: As
        ``open_runtime``.
    """
    check_possible(name, artifact.manifest)
    return _BACKENDS[name].open(artifact, threads)


def check_possible(name: str, manifest: Manifest) -> None:
    """Check that the runtime is installed here and can run the artifact of this manifest.

    Raises:
        ConfigError: If no runtime has that name.
        MissingDependencyError: If its package is not installed.
        RuntimeUnavailableError: If the processor, the driver, the GPU or the package does not
            support it, or the artifact has no model for it.
    """
    check_names([name])
    backend = _BACKENDS[name]
    if importlib.util.find_spec(backend.package) is None:
        raise MissingDependencyError(backend.package, extra=backend.extra)
    backend.check(manifest)


def check_names(names: Iterable[str]) -> None:
    """Check that each is the name of a runtime.

    Raises:
        ConfigError: Naming the first that is not, and those there are.
    """
    for name in names:
        if name not in _BACKENDS:
            raise ConfigError(
                f"no runtime is called {name!r}; the runtimes are {', '.join(RUNTIMES)}"
            )


def rounds_fp32(name: str) -> bool:
    """Return whether the runtime computes an FP32 graph in a smaller dtype."""
    return _BACKENDS[name].rounds_fp32

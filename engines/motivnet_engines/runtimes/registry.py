"""The runtimes by name: what each one needs, whether it can open an artifact here, and how."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from typing import Literal

from motivnet.artifact import Artifact
from motivnet.artifact.engine_entry import EngineBackend
from motivnet.artifact.manifest import Manifest
from motivnet.errors import ConfigError, MissingDependencyError, RuntimeUnavailableError
from motivnet.runtime import Runtime
from motivnet_engines.browser.folder import check_web_folder, has_webgpu
from motivnet_engines.runtimes.tensorrt import api
from motivnet_engines.runtimes.tensorrt.api import EXTRAS, MODULES
from motivnet_engines.runtimes.tensorrt.compatibility import check_engine
from motivnet_engines.system.nvidia import read_driver

_PACKAGES = {
    "tensorrt": (MODULES["tensorrt"], EXTRAS["tensorrt"]),
    "tensorrt-rtx": (MODULES["tensorrt-rtx"], EXTRAS["tensorrt-rtx"]),
    "onnxruntime-cuda": ("onnxruntime", "gpu"),
    "openvino-bf16": ("openvino", "cpu"),
    "openvino": ("openvino", "cpu"),
    "onnxruntime": ("onnxruntime", "cpu"),
}
"""The package that each runtime needs, and the extra that installs it."""

_ENGINES: dict[str, EngineBackend] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt-rtx"}
_DEVICES: dict[str, Literal["cpu", "cuda"]] = {"onnxruntime": "cpu", "onnxruntime-cuda": "cuda"}
_DTYPES: dict[str, Literal["float32", "bfloat16"]] = {
    "openvino": "float32",
    "openvino-bf16": "bfloat16",
}

RUNTIMES: tuple[str, ...] = tuple(_PACKAGES)
"""The names in order of preference, the fastest first."""

_BROWSER_BACKENDS: dict[str, Literal["wasm", "webgpu"]] = {
    "web-wasm": "wasm",
    "web-webgpu": "webgpu",
}
IN_BROWSER: tuple[str, ...] = tuple(_BROWSER_BACKENDS)
"""Runtimes that a headless browser runs: for comparisons and measurements, never for predictions.

They need the folder of ``--target web``.
"""

ON_GPU = frozenset(("tensorrt", "tensorrt-rtx", "onnxruntime-cuda"))

_CUDA = ("cuda-bindings", "pycuda")
DISTRIBUTIONS: dict[str, tuple[str, ...]] = {
    "tensorrt": (*api.DISTRIBUTIONS["tensorrt"], *_CUDA),
    "tensorrt-rtx": (*api.DISTRIBUTIONS["tensorrt-rtx"], *_CUDA),
    "onnxruntime-cuda": ("onnxruntime-gpu[cuda,cudnn]",),
    "openvino-bf16": ("openvino",),
    "openvino": ("openvino",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
}
"""The distributions of each runtime beside motivnet; those that are not installed do not count."""


def open_backend(name: str, artifact: Artifact, *, threads: int | None = None) -> Runtime:
    """Open an artifact with the runtime of this name, whether or not it passed the parity check.

    Raises:
        ArtifactError, ConfigError, MissingDependencyError, RuntimeUnavailableError: As
        ``open_runtime``.
    """
    if name in _BROWSER_BACKENDS:
        check_browser(name, artifact)
        from motivnet_engines.runtimes.web_ import WebRuntime

        return WebRuntime(artifact, backend=_BROWSER_BACKENDS[name], threads=threads)
    check_possible(name, artifact.manifest)
    if name in _ENGINES:
        from motivnet_engines.runtimes.tensorrt.runtime import TensorRTRuntime

        return TensorRTRuntime(artifact, backend=_ENGINES[name])
    if name in _DEVICES:
        from motivnet_engines.runtimes.onnxruntime_ import OnnxRuntime

        return OnnxRuntime(artifact, device=_DEVICES[name], threads=threads)
    from motivnet_engines.runtimes.openvino_ import OpenVINORuntime

    return OpenVINORuntime(artifact, compute=_DTYPES[name], threads=threads)


def check_possible(name: str, manifest: Manifest) -> None:
    """Check that the runtime is installed here and can run the artifact of this manifest.

    Raises:
        ConfigError: If no runtime has that name.
        MissingDependencyError: If its package is not installed.
        RuntimeUnavailableError: If the processor, the driver, the GPU or the package does not
            support it, or the artifact has no model for it.
    """
    check_names([name])
    package, extra = _PACKAGES[name]
    if importlib.util.find_spec(package) is None:
        # No package helps a machine without a GPU.
        if name in ON_GPU and (missing := read_driver().missing_requirement):
            raise RuntimeUnavailableError(f"{name} needs an NVIDIA GPU: {missing}")
        raise MissingDependencyError(package, extra=extra)
    if name in _ENGINES:
        check_engine(manifest, _ENGINES[name])
        return
    if manifest.kind != "onnx":
        raise RuntimeUnavailableError(
            "the artifact is an engine alone; its ONNX graph stayed where it was built"
        )
    if name in _DEVICES:
        from motivnet_engines.runtimes.onnxruntime_ import check_device

        check_device(_DEVICES[name], precision=manifest.precision)
    else:
        from motivnet_engines.runtimes.openvino_ import check_compute

        check_compute(_DTYPES[name])


def check_browser(name: str, artifact: Artifact) -> None:
    """Check that an artifact is for the browser, and that browsers can be driven from here.

    Whether there is a Chromium is seen when it is started.

    Raises:
        ArtifactError: If the artifact's folder is damaged or of another version.
        MissingDependencyError: If Playwright is not installed.
        RuntimeUnavailableError: If the artifact is not for the browser, or not for WebGPU.
    """
    check_web_folder(artifact.folder)
    if importlib.util.find_spec("playwright") is None:
        raise MissingDependencyError("playwright", extra="browser")
    if name == "web-webgpu" and not has_webgpu(artifact.folder):
        raise RuntimeUnavailableError(f"{artifact.folder} was built without the files for WebGPU")


def check_names(names: Iterable[str], *, in_browser: bool = False) -> None:
    """Check that each is the name of a runtime.

    Args:
        in_browser: Whether the runtimes of a browser may be named too.

    Raises:
        ConfigError: Naming the first that is not, and those there are.
    """
    known = (*RUNTIMES, *IN_BROWSER) if in_browser else RUNTIMES
    for name in names:
        if name not in known:
            raise ConfigError(f"no runtime is called {name!r}; the runtimes are {', '.join(known)}")


def rounds_fp32(name: str) -> bool:
    """Return whether the runtime computes an FP32 graph in a smaller dtype."""
    return _DTYPES.get(name) == "bfloat16"

"""The Python packages ``tensorrt`` and ``tensorrt_rtx``, which have nearly the same API.

What only one of them, or only some versions, have is asked for with ``hasattr`` where it is used.
Enumerations are never integers, because their values changed between TensorRT 10 and 11.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motivnet.errors import MissingDependencyError, RuntimeUnavailableError
from motivnet_engines.system.installed import installed_versions, version_of
from motivnet_engines.system.nvidia import NvidiaDriver

if TYPE_CHECKING:
    from motivnet.artifact.engine_entry import EngineBackend

RTX_COMPUTE_CAPABILITIES = ("75", "80", "86", "89", "120", "121")
"""What TensorRT-RTX 1.7 compiles for: not Orin (87), Hopper (90) or data-centre Blackwell (100)."""

MODULES: dict[EngineBackend, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
EXTRAS: dict[EngineBackend, str] = {"tensorrt": "trt", "tensorrt-rtx": "rtx"}
DISTRIBUTIONS: dict[EngineBackend, tuple[str, ...]] = {
    "tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
    "tensorrt-rtx": ("tensorrt-rtx", "tensorrt-rtx-cu13", "tensorrt-rtx-cu12"),
}
"""Names under which the packages are installed; JetPack's Debian package uses the first one too."""

_WHEELS: dict[EngineBackend, tuple[str, ...]] = {
    "tensorrt": ("tensorrt", "tensorrt-lean"),
    "tensorrt-rtx": ("tensorrt-rtx",),
}
"""Wheels with libraries for one major version of CUDA, whose names end in ``-cu13`` or such."""

DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "FP8": "float8e4m3fn",
    "UINT8": "uint8",
    "INT8": "int8",
    "INT64": "int64",
}
"""ONNX's names of TensorRT's types."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """A loaded package: its backend, its module, and its version such as ``10.16.1.11``."""

    backend: EngineBackend
    trt: Any
    version: str


def load_api(backend: EngineBackend) -> Api:
    """Import and return the package of a backend.

    Raises:
        MissingDependencyError: If it is not installed.
        RuntimeUnavailableError: If it is installed and one of its libraries is not.
    """
    name = MODULES[backend]
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(name, extra=EXTRAS[backend]) from error
    except (ImportError, OSError, RuntimeError) as error:
        raise RuntimeUnavailableError(
            f"{name} is installed but cannot be loaded: {error}"
        ) from error
    return Api(backend=backend, trt=module, version=module.__version__)


def installed_version(backend: EngineBackend) -> str | None:
    """Return the version, such as ``10.16.1.11``, without loading the package; None if missing."""
    return next(iter(installed_versions(DISTRIBUTIONS[backend]).values()), None)


def too_new_wheel(backend: EngineBackend, driver: NvidiaDriver) -> tuple[str, str] | None:
    """Return that a wheel is for a newer CUDA than the driver's, and the command that replaces it.

    Its libraries load, but the first call into them ends in an error or ends the process. None if
    no wheel is too new, or it is not known which CUDA it is for, as on a Jetson.
    """
    if driver.cuda_major is None:
        return None
    for name in _WHEELS[backend]:
        wheel = next((major for major in (13, 12) if version_of(f"{name}-cu{major}")), None)
        if wheel is not None and wheel > driver.cuda_major:
            # The files of two majors share folders: what is left of one deletes the other's later.
            parts = " ".join(f"{name}-cu{wheel}{part}" for part in ("", "-libs", "-bindings"))
            return (
                f"the wheel {name}-cu{wheel} is for CUDA {wheel} and the driver for {driver.cuda}; "
                "update either",
                f"pip uninstall -y {name} {parts} && pip install {name}-cu{driver.cuda_major}",
            )
    return None


def numbers_of(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: ``(10, 3, 0)`` of ``10.3.0+cuda``."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()

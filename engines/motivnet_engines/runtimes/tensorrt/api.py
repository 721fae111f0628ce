"""The two packages behind one name: ``tensorrt`` and ``tensorrt_rtx`` have nearly the same Python
API.

What only one of them, or only some versions, have is asked for with ``hasattr`` at its one use;
enumerations are never integers, because their values moved between TensorRT 10 and 11.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from motivnet.artifact.manifest import EngineBackend
from motivnet.errors import MissingDependencyError, RuntimeUnavailableError

RTX_COMPUTE_CAPABILITIES = ("75", "80", "86", "89", "120", "121")
"""Those that TensorRT-RTX 1.7 compiles for: no Orin (87), no Hopper (90), no data-centre Blackwell (100)."""

MODULES: dict[EngineBackend, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
EXTRAS: dict[EngineBackend, str] = {"tensorrt": "trt", "tensorrt-rtx": "rtx"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """A loaded package: which one, its module, and its version such as ``10.16.1.11``."""

    backend: EngineBackend
    trt: Any
    version: str


def load_api(backend: EngineBackend) -> Api:
    """The package of a backend, imported.

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
        reason = " ".join(str(error).split())
        raise RuntimeUnavailableError(
            f"{name} is installed but cannot be loaded: {reason}"
        ) from error
    return Api(backend=backend, trt=module, version=module.__version__)

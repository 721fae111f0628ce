"""What is installed, and in which version of TensorRT or TensorRT-RTX, told without loading any library."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re

from motivnet.artifact.manifest import EngineBackend

DISTRIBUTIONS: dict[EngineBackend, tuple[str, ...]] = {
    "tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
    "tensorrt-rtx": ("tensorrt-rtx", "tensorrt-rtx-cu13", "tensorrt-rtx-cu12"),
}
"""Names under which the packages are installed; JetPack's Debian package has the first too."""


def installed_version(backend: EngineBackend) -> str | None:
    """Such as ``10.16.1.11``; None where no distribution of that name says one."""
    for name in DISTRIBUTIONS[backend]:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def is_installed(module: str) -> bool:
    """Whether a module, such as ``cuda.bindings``, can be found; it is not loaded."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package around it is missing
        return False


def numbers_of(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, to be compared: ``(10, 16, 1, 11)``; ``10.3.0+cuda`` is ``(10, 3, 0)``."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()

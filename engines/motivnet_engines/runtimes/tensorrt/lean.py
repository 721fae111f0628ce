"""The lean runtime that a version-compatible engine runs on: a library of exactly the version that built the engine."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from pathlib import Path

from motivnet.artifact.manifest import EngineEntry
from motivnet.errors import RuntimeUnavailableError

VARIABLE = "MOTIVNET_TENSORRT_LEAN"
"""Environment variable with the library's path, for machines where it comes from no Python package."""

_PACKAGE = "tensorrt_lean_libs"
_DISTRIBUTIONS = (
    "tensorrt-lean-cu13-libs",
    "tensorrt-lean-cu12-libs",
    "tensorrt-lean-cu13",
    "tensorrt-lean-cu12",
    "tensorrt-lean",
)


def needs_lean_runtime(entry: EngineEntry) -> bool:
    """Whether the package's own runtime does not run the engine; TensorRT-RTX knows no such engines."""
    return entry.backend == "tensorrt" and entry.version_compatible


def lean_library(version: str) -> Path:
    """The library that runs engines which TensorRT ``version`` built; nothing is loaded for it.

    It is never taken from the engine itself: that would let an engine bring native code of its own.

    Raises:
        RuntimeUnavailableError: Naming what to install or set.
    """
    name = f"libnvinfer_lean.so.{version.partition('.')[0]}"
    if named := os.environ.get(VARIABLE):
        return _named_library(named, f"the {name} of TensorRT {version}")
    installed = _installed_versions()
    for folder in _folders() if version in installed else []:
        if (path := folder / name).is_file():
            return path
    raise RuntimeUnavailableError(
        f"the tensorrt engine is version-compatible and runs on the lean runtime of TensorRT {version}, "
        f"{_what_is_here(installed, version)}; install tensorrt-lean=={version}, "
        f"or set {VARIABLE} to the path of its {name}"
    )


def _named_library(named: str, wanted: str) -> Path:
    path = Path(named).absolute()  # a bare name would be looked for in the system's folders
    if not path.is_file():
        raise RuntimeUnavailableError(
            f"{VARIABLE} names {named!r}, which is no file; set it to the path of {wanted}"
        )
    return path


def _folders() -> list[Path]:
    spec = importlib.util.find_spec(_PACKAGE)
    return (
        [] if spec is None else [Path(folder) for folder in spec.submodule_search_locations or ()]
    )


def _installed_versions() -> list[str]:
    versions: dict[str, None] = {}
    for name in _DISTRIBUTIONS:
        try:
            versions[importlib.metadata.version(name)] = None
        except importlib.metadata.PackageNotFoundError:
            continue
    return list(versions)


def _what_is_here(installed: list[str], version: str) -> str:
    if version in installed:
        return "which its installed package lacks"
    return (
        f"and tensorrt-lean {installed[0]} is installed" if installed else "which is not installed"
    )

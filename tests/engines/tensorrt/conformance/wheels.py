"""The wheels whose API is looked at: downloaded once, unpacked, and read in a child process.

Their licence forbids redistribution, so nothing of them is in this repository.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.stubs import compile_stubs

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "motivnet-tests" / "wheels"
DUMP = Path(__file__).with_name("dump.py")

NVINFER = ("libnvinfer.so", "libnvinfer_plugin.so", "libnvonnxparser.so")
RTX = ("libtensorrt_rtx.so.1", "libtensorrt_onnxparser_rtx.so.1")


class OutOfReachError(Exception):
    """The package index did not give the wheel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """A requirement, the module to read in it, and the libraries that it does not import without.

    One that is ``installed`` is read where it is.
    """

    package: str
    version: str
    module: str
    libraries: tuple[str, ...] = ()
    installed: bool = False

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


def tensorrt_wheel(package: str, version: str) -> Wheel:
    """The bindings of ``tensorrt`` for a CUDA version."""
    major = version.partition(".")[0]
    libraries = tuple(f"{name}.{major}" for name in NVINFER)
    return Wheel(package=package, version=version, module="tensorrt_bindings", libraries=libraries)


def rtx_wheel(version: str) -> Wheel:
    """The bindings of TensorRT-RTX."""
    package = "tensorrt-rtx-cu13-bindings"
    return Wheel(package=package, version=version, module="tensorrt_rtx_bindings", libraries=RTX)


def newest_rtx() -> Wheel:
    """Return the TensorRT-RTX that is installed, or a known version if none is."""
    try:
        version = importlib.metadata.version("tensorrt-rtx")
    except importlib.metadata.PackageNotFoundError:
        return rtx_wheel("1.7.1.116")
    return Wheel(package="tensorrt-rtx", version=version, module="tensorrt_rtx", installed=True)


def driver_wheel(version: str) -> Wheel:
    """The CUDA driver API of cuda.bindings."""
    return Wheel(package="cuda-bindings", version=version, module="cuda.bindings.driver")


@functools.cache
def offer_of_wheel(wheel: Wheel) -> dict[str, Any]:
    """What the wheel's module offers, as ``dump.py`` writes it.

    Raises:
        OutOfReachError: If the wheel is neither in the cache nor to be had from the index.
    """
    if wheel.installed:
        return offer_of_module(wheel.module)
    path = downloaded(wheel)
    kept = path.with_suffix(f".{hashlib.sha256(DUMP.read_bytes()).hexdigest()[:16]}.json")
    if kept.exists():
        document: dict[str, Any] = json.loads(kept.read_text())
        return document
    with tempfile.TemporaryDirectory(prefix="motivnet-bindings-") as folder:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
        if wheel.libraries:
            compile_stubs(Path(folder, wheel.module), wheel.libraries)
        offer = offer_of_module(wheel.module, search=folder)
        partial = Path(folder, kept.name)
        partial.write_text(json.dumps(offer))
        shutil.move(partial, kept)
    return offer


def offer_of_module(module: str, *, search: str | None = None) -> dict[str, Any]:
    """What an installed module offers, or one in the folder ``search``."""
    environment = {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "1",
        **({"PYTHONPATH": search} if search else {}),
    }
    command = [sys.executable, str(DUMP), module]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{module} cannot be imported: {done.stderr[-2_000:]}")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def downloaded(wheel: Wheel) -> Path:
    """The wheel in the cache for this Python; it gets there whole or not at all.

    Raises:
        OutOfReachError: As ``offer_of_wheel``.
    """
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    name = f"{wheel.package.replace('-', '_')}-{wheel.version}-"

    def found_here() -> list[Path]:
        return [path for tag in (python, "py3") for path in CACHE.glob(f"{name}{tag}-*.whl")]

    if not (found := found_here()):
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            _download(wheel, folder)
            for path in Path(folder).glob("*.whl"):
                shutil.move(path, CACHE / path.name)
        found = found_here()
    if not found:
        raise OutOfReachError(f"{wheel} has no wheel for this Python")
    return found[0]


def _download(wheel: Wheel, folder: str) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary",
        ":all:",
    ]
    command += [
        "--disable-pip-version-check",
        "--dest",
        folder,
        f"{wheel.package}=={wheel.version}",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    except subprocess.TimeoutExpired as error:
        raise OutOfReachError(
            f"{wheel} cannot be downloaded: the index did not answer in time"
        ) from error
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise OutOfReachError(f"{wheel} cannot be downloaded: {reason[0]}")

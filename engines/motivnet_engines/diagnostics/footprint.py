"""What an artifact takes on a device: the disk, the memory, and the time from a cold start to its first prediction."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motivnet.artifact import open_artifact
from motivnet.child_process import isolated_module
from motivnet.errors import RuntimeUnavailableError
from motivnet_engines.diagnostics.installed import InstalledPackage, installed_packages
from motivnet_engines.runtimes.registry import check_possible, default_runtime

DISTRIBUTIONS: dict[str, tuple[str, ...]] = {
    "tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "cuda-bindings", "pycuda"),
    "tensorrt-rtx": (
        "tensorrt-rtx",
        "tensorrt-rtx-cu13",
        "tensorrt-rtx-cu12",
        "cuda-bindings",
        "pycuda",
    ),
    "onnxruntime-cuda": ("onnxruntime-gpu[cuda,cudnn]",),
    "openvino-bf16": ("openvino",),
    "openvino": ("openvino",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
}
"""What a runtime brings beside motivnet, as far as it is installed."""

_TIMEOUT = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What it takes to predict with one runtime; sizes are in bytes, times in seconds.

    Args:
        installed: The sum over ``packages``, which are the largest first: motivnet, the runtime's
            distributions and all that these need. Python itself and the driver of a GPU are not
            counted.
        artifact: The files that the manifest names.
        resident: Memory of a process of its own right after its first prediction.
        peak: The most that it had until then.
        cold_start: From the start of that process to the first prediction: Python, the imports, the
            check of the files, the opening and the call. Its files may lie in the system's cache.
            The call is of a grey array of the network's size: no file is decoded and no face looked
            for.
        first_call: The part of it that the call took.
    """

    runtime: str
    installed: int
    packages: tuple[InstalledPackage, ...]
    artifact: int
    resident: int
    peak: int
    cold_start: float
    first_call: float


def footprint(
    folder: Path | str, runtime: str | None = None, *, trust_engines: bool = False
) -> Footprint:
    """The footprint of an artifact with a runtime; the one that opens it where none is asked for.

    Raises:
        MotivNetError: As ``open_runtime``.
        RuntimeUnavailableError: If a process of its own makes no prediction.
    """
    artifact = open_artifact(folder)
    name = runtime or default_runtime(artifact, trust_engines=trust_engines)
    check_possible(name, artifact.manifest)
    packages = installed_packages(("motivnet", *DISTRIBUTIONS[name]))
    started = time.monotonic()
    first = _first_prediction(artifact.folder, name)
    return Footprint(
        runtime=name,
        installed=sum(package.size or 0 for package in packages),
        packages=packages,
        artifact=sum(entry.size for entry in artifact.manifest.files),
        resident=first["VmRSS"],
        peak=first["VmHWM"],
        cold_start=first["predicted"] - started,
        first_call=first["predicted"] - first["opened"],
    )


def _first_prediction(folder: Path, runtime: str) -> dict[str, Any]:
    """What ``first_prediction`` writes; both processes read one clock, which counts from the start of the machine."""
    command = isolated_module(
        "motivnet_engines.diagnostics.first_prediction", str(folder.absolute()), runtime
    )
    try:
        done = subprocess.run(  # noqa: S603  # this Python, and a name that was checked
            command, capture_output=True, text=True, check=False, timeout=_TIMEOUT
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeUnavailableError(f"{runtime} made no prediction in {_TIMEOUT:g} s") from error
    if done.returncode:
        said = done.stderr.strip().splitlines() or [
            f"its process ended with status {done.returncode}"
        ]
        raise RuntimeUnavailableError(
            f"{runtime} made no prediction in a process of its own: {said[-1]}"
        )
    found: dict[str, Any] = json.loads(done.stdout)
    return found

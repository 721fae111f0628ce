"""The cost of an artifact on a device: disk, memory, and the time to its first prediction."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from motivnet.artifact import open_artifact
from motivnet.child_process import ChildProcess, describe_exit, last_line
from motivnet.errors import RuntimeUnavailableError
from motivnet_engines.diagnostics.first_prediction import FirstPrediction
from motivnet_engines.runtimes.registry import DISTRIBUTIONS, check_possible
from motivnet_engines.runtimes.selection import default_runtime
from motivnet_engines.system.installed import InstalledPackage, installed_packages

_TIMEOUT = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """The cost of predicting with one runtime; sizes are in bytes, times in seconds.

    Args:
        installed: Sum over ``packages``, largest first: motivnet, the distributions of the runtime
            and their requirements. Python itself and the driver of a GPU are not counted.
        artifact: Files that the manifest names.
        resident: Memory of a new process right after its first prediction; None if unknown.
        peak: Largest memory of that process until then.
        cold_start: From the start of that process to the first prediction: Python, the imports, the
            check of the files, opening, and the call. Its files may be in the system's cache. The
            call is of a grey array of the network's size: no file is decoded, no face searched.
        first_call: The part of it that the call took.
    """

    runtime: str
    installed: int
    packages: tuple[InstalledPackage, ...]
    artifact: int
    resident: int | None
    peak: int
    cold_start: float
    first_call: float


def footprint(
    folder: Path | str, runtime: str | None = None, *, trust_engines: bool = False
) -> Footprint:
    """Measure the footprint of an artifact with a runtime, by default the one that opens it.

    Raises:
        MotivNetError: As ``open_runtime``.
        RuntimeUnavailableError: If a new process makes no prediction.
    """
    artifact = open_artifact(folder)
    name = runtime or default_runtime(artifact, trust_engines=trust_engines)
    check_possible(name, artifact.manifest)
    packages = installed_packages(("motivnet", *DISTRIBUTIONS[name]))
    started = time.monotonic()
    first = _predict_in_new_process(artifact.folder, name)
    return Footprint(
        runtime=name,
        installed=sum(package.size or 0 for package in packages),
        packages=packages,
        artifact=sum(entry.size for entry in artifact.manifest.files),
        resident=first.resident,
        peak=first.peak,
        cold_start=first.predicted - started,
        first_call=first.predicted - first.opened,
    )


def _predict_in_new_process(folder: Path, runtime: str) -> FirstPrediction:
    """Both processes read the same clock, which starts with the machine."""
    module = "motivnet_engines.diagnostics.first_prediction"
    with ChildProcess(module, str(folder.absolute()), runtime) as child:
        try:
            first = child.messages.receive(FirstPrediction, timeout=_TIMEOUT)
        except TimeoutError as error:
            raise RuntimeUnavailableError(
                f"{runtime} made no prediction in {_TIMEOUT:g} s"
            ) from error
        if first is None:
            status = child.wait()
            reason = last_line(child.output()) or f"its process {describe_exit(status)}"
            raise RuntimeUnavailableError(
                f"{runtime} made no prediction in a new process: {reason}"
            )
    return first

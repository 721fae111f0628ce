"""A diagnosis: what this machine has, what can be built and run on it, and how to fix the rest."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from motivnet import __version__
from motivnet.dependencies import is_installed, load_error
from motivnet.errors import BrokenDependencyError
from motivnet_engines.diagnostics.capabilities import (
    Capability,
    Environment,
    driver_fix,
    find_advice,
    find_builds,
    find_runtimes,
    missing_for_all,
)
from motivnet_engines.diagnostics.packages import PackageStatus, package_statuses
from motivnet_engines.system.machine import Jetson, Machine, read_jetson, read_machine
from motivnet_engines.system.nvidia import NvidiaDriver, read_driver

_EXTRAS: dict[str, tuple[str, tuple[str, ...]]] = {
    "HEIC pictures": ("heic", ("pillow_heif",)),
    "videos, cameras, streams": ("video", ("av", "matplotlib")),
    "motivnet serve": ("serve", ("starlette", "uvicorn", "python_multipart", "prometheus_client")),
    "motivnet adapt": ("adapt", ("sklearn",)),
    "motivnet predict-dataset": ("ray", ("ray", "pyarrow", "starlette")),
}
"""For what needs an extra: the extra, and the modules of its packages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The machine, this installation, its packages, and the capabilities that follow from them.

    ``extras`` are the commands and files that need an extra; ``fixes`` does not include them,
    because nobody needs them all. ``fixes`` are commands by the name of what they fix.
    ``healthy`` tells whether at least one runtime can run an artifact here.
    """

    motivnet: str
    python: str
    executable: str
    machine: Machine
    jetson: Jetson | None
    driver: NvidiaDriver
    cuda_devices: int
    packages: tuple[PackageStatus, ...]
    builds: tuple[Capability, ...]
    runtimes: tuple[Capability, ...]
    extras: tuple[Capability, ...]
    fixes: dict[str, str]
    advice: tuple[str, ...]
    healthy: bool


def diagnose() -> Diagnosis:
    """Return the diagnosis of this machine; the packages and the driver's library are loaded."""
    driver, jetson = read_driver(), read_jetson()
    packages = package_statuses(devices=len(driver.gpus), jetson=jetson)
    by_name = {status.name: status for status in packages}
    here = Environment(packages=by_name, driver=driver, jetson=jetson)
    builds, runtimes = find_builds(here), find_runtimes(here)
    return Diagnosis(
        motivnet=__version__,
        python=platform.python_version(),
        executable=sys.executable,
        machine=read_machine(),
        jetson=jetson,
        driver=driver,
        cuda_devices=len(driver.gpus),
        packages=packages,
        builds=builds,
        runtimes=runtimes,
        extras=find_extras(by_name),
        fixes=_collect_fixes(here, (*builds, *runtimes)),
        advice=find_advice(here),
        healthy=any(capability.possible for capability in runtimes),
    )


def find_extras(packages: Mapping[str, PackageStatus]) -> tuple[Capability, ...]:
    """Return whether each command that needs an extra can be used, by the packages of all commands.

    Its packages are imported, but for Ray, which reads its settings at import and takes seconds.
    """
    found = []
    for_all = missing_for_all(packages)
    for name, (extra, modules) in _EXTRAS.items():
        detail = for_all[0] if for_all else _missing_for_extra(extra, modules)
        found.append(Capability(name=name, possible=not detail, detail=detail))
    return tuple(found)


def _missing_for_extra(extra: str, modules: tuple[str, ...]) -> str:
    if not all(map(is_installed, modules)):
        return f"pip install 'motivnet[{extra}]'"
    for problem in (load_error(module) for module in modules if module != "ray"):
        if isinstance(problem, BrokenDependencyError):
            return f"{problem.package} cannot be loaded: {problem.reason}; {problem.repair}"
    return ""


def _collect_fixes(here: Environment, capabilities: tuple[Capability, ...]) -> dict[str, str]:
    """Return each command once, under the first problem that it fixes; the driver comes first."""
    fixes = [("NVIDIA driver", driver_fix(here.driver, here.jetson))]
    fixes += [(status.name, status.fix) for status in here.packages.values()]
    fixes += [(capability.name, capability.fix) for capability in capabilities]
    collected: dict[str, str] = {}
    for name, command in fixes:
        if command is not None and command not in collected.values():
            collected.setdefault(name, command)
    return collected

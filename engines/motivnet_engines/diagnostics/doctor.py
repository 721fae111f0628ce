"""What this machine has and lacks, what can be built and run on it, and the line that repairs each gap."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass

from motivnet import __version__
from motivnet_engines.diagnostics.capabilities import (
    Ability,
    Surroundings,
    advice_for,
    build_abilities,
    driver_repair,
    run_abilities,
)
from motivnet_engines.diagnostics.features import features
from motivnet_engines.diagnostics.packages import PackageStatus, package_statuses
from motivnet_engines.system.jetson import Jetson, read_jetson
from motivnet_engines.system.machine import Machine, read_machine
from motivnet_engines.system.nvidia import NvidiaDriver, read_driver


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The machine, this installation, the packages, and what follows for building and running.

    ``features`` are what needs an extra or the face detector; nobody needs them all, and
    ``repairs`` leaves them out. ``repairs`` are the lines that close the gaps, by what they close.
    ``healthy`` when at least one runtime can run an artifact here.
    """

    motivnet: str
    python: str
    executable: str
    machine: Machine
    jetson: Jetson | None
    driver: NvidiaDriver
    cuda_devices: int
    packages: tuple[PackageStatus, ...]
    builds: tuple[Ability, ...]
    runs: tuple[Ability, ...]
    features: tuple[Ability, ...]
    repairs: dict[str, str]
    advice: tuple[str, ...]
    healthy: bool


def diagnose() -> Diagnosis:
    """The state of this machine; the packages are really loaded, and the driver is asked, not its tools."""
    driver, jetson = read_driver(), read_jetson()
    packages = package_statuses(devices=len(driver.gpus), jetson=jetson is not None)
    around = Surroundings(
        packages={status.name: status for status in packages}, driver=driver, jetson=jetson
    )
    builds, runs = build_abilities(around), run_abilities(around)
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
        runs=runs,
        features=features(),
        repairs=_repairs(around, (*builds, *runs)),
        advice=advice_for(around),
        healthy=any(ability.possible for ability in runs),
    )


def _repairs(around: Surroundings, abilities: tuple[Ability, ...]) -> dict[str, str]:
    """Each line once, under the first gap that it closes: the driver, then packages, then what they would bring."""
    gaps = [("NVIDIA driver", driver_repair(around.driver, around.jetson))]
    gaps += [(status.name, status.repair) for status in around.packages.values()]
    gaps += [(ability.name, ability.repair) for ability in abilities]
    repairs: dict[str, str] = {}
    for name, line in gaps:
        if line is not None and line not in repairs.values():
            repairs.setdefault(name, line)
    return repairs

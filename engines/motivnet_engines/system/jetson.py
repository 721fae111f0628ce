"""Whether this machine is a Jetson, and which JetPack is on it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from motivnet_engines.system.procfs import text_of

_RELEASE = Path("/etc/nv_tegra_release")
_MODEL = Path("/proc/device-tree/model")

_JETPACK = {"32": "4", "34": "5", "35": "5", "36": "6", "38": "7", "39": "7"}
"""JetPack's major version by that of L4T."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Jetson:
    """The board's name, Linux for Tegra such as ``36.4.3``, and JetPack's major version, None where unknown."""

    model: str
    l4t: str
    jetpack: str | None


def read_jetson() -> Jetson | None:
    """The Jetson that this is, None on any other machine."""
    return jetson_from_texts(text_of(_RELEASE), text_of(_MODEL))


def jetson_from_texts(release: str, model: str) -> Jetson | None:
    """The Jetson in the texts of ``/etc/nv_tegra_release`` and of the device tree's model."""
    match = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", release)
    if match is None:
        return None
    return Jetson(
        model=model.strip("\0\n ") or "a Jetson",
        l4t=f"{match[1]}.{match[2]}",
        jetpack=_JETPACK.get(match[1]),
    )

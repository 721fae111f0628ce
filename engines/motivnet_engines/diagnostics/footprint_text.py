"""What ``motivnet info --footprint`` shows at a terminal."""

from __future__ import annotations

from motivnet.terminal import facts, show, table
from motivnet_engines.diagnostics.footprint import Footprint

_SHOWN = 8


def print_footprint(found: Footprint) -> None:
    """Disk, memory and cold start, and the largest packages."""
    packages = table("package", "version", ">size")
    for package in found.packages[:_SHOWN]:
        packages.add_row(
            package.name,
            package.version,
            "unknown" if package.size is None else size_text(package.size),
        )
    if rest := found.packages[_SHOWN:]:
        packages.add_row(
            f"{len(rest)} more", "", size_text(sum(package.size or 0 for package in rest))
        )
    show(facts(_facts(found)), packages)


def size_text(size: int) -> str:
    """Bytes as MB, or as GB from one on."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _facts(found: Footprint) -> dict[str, str]:
    return {
        "runtime": found.runtime,
        "installed": f"{size_text(found.installed)} in {len(found.packages)} packages, without Python itself",
        "artifact": size_text(found.artifact),
        "memory": f"{size_text(found.resident)} after the first prediction, {size_text(found.peak)} at most",
        "cold start": f"{found.cold_start:.1f} s from the start of Python to the first prediction, "
        f"{found.first_call:.1f} s of it the prediction",
    }

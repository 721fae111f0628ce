"""Installed distributions: their versions, what they require, and their size on the disk."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledPackage:
    """A distribution; ``size`` is in bytes, None for a system package without a list of files."""

    name: str
    version: str
    size: int | None


def version_of(name: str) -> str | None:
    """Return the installed version of a distribution; None if it is not installed."""
    package = _find(name)
    return None if package is None else package.version


def installed_versions(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of those distributions that are installed, in order."""
    versions = {name: version_of(name) for name in names}
    return {name: version for name, version in versions.items() if version is not None}


def installed_packages(roots: Iterable[str]) -> tuple[InstalledPackage, ...]:
    """Return the installed distributions among the roots and their requirements, largest first.

    Args:
        roots: Requirements such as ``motivnet`` or ``onnxruntime-gpu[cuda]``.
    """
    waiting = [Requirement(root) for root in roots]
    seen: set[tuple[str, str]] = set()
    found: dict[str, Distribution] = {}
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        # A distribution may be required first without an extra and later with one.
        new = {(name, extra) for extra in ("", *requirement.extras)} - seen
        package = _find(name) if new else None
        if package is None:
            continue
        seen |= new
        found[name] = package
        waiting += _requirements(package, {extra for _, extra in new})
    packages = (
        InstalledPackage(
            name=package.metadata["Name"], version=package.version, size=_size(package)
        )
        for package in found.values()
    )
    return tuple(sorted(packages, key=lambda package: (-(package.size or 0), package.name.lower())))


def _find(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _requirements(package: Distribution, extras: set[str]) -> Iterator[Requirement]:
    """Yield what a distribution requires here with one of these extras; "" is none."""
    for text in package.requires or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
            yield requirement


def _size(package: Distribution) -> int | None:
    """Return the bytes of a distribution's files, or of the packages of an editable one."""
    if package.files is None:
        return None
    files = {Path(str(package.locate_file(file))).resolve() for file in package.files}
    editable = {file for folder in _editable_packages(files) for file in folder.rglob("*")}
    return sum(file.stat().st_size for file in files | editable if file.is_file())


def _editable_packages(files: set[Path]) -> Iterator[Path]:
    """Yield the folders of the packages that ``.pth`` files among these put on Python's path."""
    for file in files:
        if file.suffix != ".pth" or not file.is_file():
            continue
        for folder in map(Path, file.read_text().splitlines()):
            if not (folder.is_absolute() and folder.is_dir()):
                continue
            for init in folder.glob("*/__init__.py"):
                spec = importlib.util.find_spec(init.parent.name)
                if spec is not None and spec.origin == str(init):
                    yield init.parent

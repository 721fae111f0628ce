"""Which distributions something installed needs, and the bytes that each takes on the disk."""

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
    """A distribution; ``size`` is in bytes, None of a system's package that does not list its files."""

    name: str
    version: str
    size: int | None


def installed_packages(roots: Iterable[str]) -> tuple[InstalledPackage, ...]:
    """The installed ones of the distributions named and of all that they need, the largest first.

    Args:
        roots: Requirements such as ``motivnet`` or ``onnxruntime-gpu[cuda]``. What is not installed
        counts nothing.
    """
    waiting = [Requirement(root) for root in roots]
    seen: set[tuple[str, str]] = set()
    found: dict[str, Distribution] = {}
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        fresh = {(name, extra) for extra in ("", *requirement.extras)} - seen
        package = _distribution(name) if fresh else None
        if package is None:
            continue
        seen |= fresh
        found[name] = package
        waiting += _requirements(package, {extra for _, extra in fresh})
    packages = (
        InstalledPackage(
            name=package.metadata["Name"], version=package.version, size=_size(package)
        )
        for package in found.values()
    )
    return tuple(sorted(packages, key=lambda package: (-(package.size or 0), package.name.lower())))


def _distribution(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _requirements(package: Distribution, extras: set[str]) -> Iterator[Requirement]:
    """What a distribution needs here with one of these extras; "" stands for none."""
    for text in package.requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in extras
        ):
            yield requirement


def _size(package: Distribution) -> int | None:
    """Bytes of the files that its installation left; of a checkout that is installed in place, of its packages."""
    if package.files is None:
        return None
    files = {Path(str(package.locate_file(file))).resolve() for file in package.files}
    editable = {file for folder in _folders_of(files) for file in folder.rglob("*")}
    return sum(file.stat().st_size for file in files | editable if file.is_file())


def _folders_of(files: set[Path]) -> Iterator[Path]:
    """The folders of the packages that ``.pth`` files among these put on Python's path."""
    paths = (
        Path(line)
        for file in files
        if file.suffix == ".pth"
        for line in file.read_text().splitlines()
    )
    for path in (path for path in paths if path.is_absolute() and path.is_dir()):
        for init in path.glob("*/__init__.py"):
            if (spec := importlib.util.find_spec(init.parent.name)) and spec.origin == str(init):
                yield init.parent

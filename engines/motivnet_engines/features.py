"""What the commands of this installation can do beyond reading faces: the optional packages, and the face detector."""

from __future__ import annotations

import importlib.util

from motivnet.errors import FileError
from motivnet_engines.abilities import Ability
from motivnet_engines.faces.weights import YUNET
from motivnet_engines.user_folders import user_cache

_EXTRAS: dict[str, tuple[str, tuple[str, ...]]] = {
    "videos, cameras, streams": ("video", ("av", "matplotlib")),
    "motivnet serve": ("serve", ("starlette", "uvicorn", "python_multipart", "prometheus_client")),
    "motivnet adapt": ("adapt", ("sklearn",)),
    "motivnet predict-dataset": ("ray", ("ray", "pyarrow", "starlette")),
}
"""What needs an extra, which one, and the packages that it brings."""


def features() -> tuple[Ability, ...]:
    """The face detector, and each command that needs an extra; nothing is imported and nothing fetched."""
    return (_detector(), *(_feature(name, *needs) for name, needs in _EXTRAS.items()))


def _detector() -> Ability:
    try:
        path = user_cache() / YUNET.name
    except FileError as error:
        return Ability(name="face detector", possible=False, detail=f"fetched each time: {error}")
    there = path.is_file()
    detail = str(path) if there else f"fetched on first use into {path.parent}"
    return Ability(name="face detector", possible=there, detail=detail)


def _feature(name: str, extra: str, packages: tuple[str, ...]) -> Ability:
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    detail = f"pip install 'motivnet[{extra}]'" if missing else ""
    return Ability(name=name, possible=not missing, detail=detail)

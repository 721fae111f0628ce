"""What the commands of this installation can do beyond reading faces: the optional packages."""

from __future__ import annotations

import importlib.util

from motivnet_engines.diagnostics.capabilities import Ability

_EXTRAS: dict[str, tuple[str, tuple[str, ...]]] = {
    "videos, cameras, streams": ("video", ("av", "matplotlib")),
    "motivnet serve": ("serve", ("starlette", "uvicorn", "python_multipart", "prometheus_client")),
    "motivnet adapt": ("adapt", ("sklearn",)),
    "motivnet predict-dataset": ("ray", ("ray", "pyarrow", "starlette")),
}
"""What needs an extra, which one, and the packages that it brings."""


def features() -> tuple[Ability, ...]:
    """Each command that needs an extra; nothing is imported."""
    return tuple(_feature(name, *needs) for name, needs in _EXTRAS.items())


def _feature(name: str, extra: str, packages: tuple[str, ...]) -> Ability:
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    detail = f"pip install 'motivnet[{extra}]'" if missing else ""
    return Ability(name=name, possible=not missing, detail=detail)

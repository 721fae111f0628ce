"""What needs an extra, and the face detector."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from motivnet_engines.diagnostics.capabilities import Ability
from motivnet_engines.diagnostics.features import features

PROJECT = Path(__file__).resolve().parents[3] / "pyproject.toml"


def feature(name: str) -> Ability:
    return next(found for found in features() if found.name == name)


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("videos, cameras, streams", "av", "video"),
        ("motivnet serve", "uvicorn", "serve"),
        ("motivnet adapt", "sklearn", "adapt"),
        ("motivnet predict-dataset", "ray", "ray"),
    ],
)
def test_a_missing_package_names_its_extra(
    name: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (feature(name).possible, feature(name).detail) == (True, "")
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda asked: None if asked == package else object()
    )
    assert (feature(name).possible, feature(name).detail) == (
        False,
        f"pip install 'motivnet[{extra}]'",
    )
    assert extra in tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]

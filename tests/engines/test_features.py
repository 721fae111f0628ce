"""What needs an extra, and the face detector."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from motivnet_engines.abilities import Ability
from motivnet_engines.faces.weights import YUNET
from motivnet_engines.features import features

PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


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
    monkeypatch.setattr("importlib.util.find_spec", lambda asked: None if asked == package else object())
    assert (feature(name).possible, feature(name).detail) == (False, f"pip install 'motivnet[{extra}]'")
    assert extra in tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]


def test_the_detector_is_there_once_it_lies_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    missing = feature("face detector")
    assert not missing.possible
    assert str(tmp_path / "motivnet") in missing.detail
    (tmp_path / "motivnet").mkdir()
    (tmp_path / "motivnet" / YUNET.name).touch()
    assert feature("face detector") == Ability(
        name="face detector", possible=True, detail=str(tmp_path / "motivnet" / YUNET.name)
    )

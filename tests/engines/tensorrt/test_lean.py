"""Which lean runtime library is taken for a version-compatible engine."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from motivnet.errors import RuntimeUnavailableError
from motivnet_engines.runtimes.tensorrt import lean

BUILT = "10.12.0.36"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution of that package and version, as pip leaves it."""
    monkeypatch.delenv(lean.VARIABLE, raising=False)
    folder = tmp_path / "site-packages"
    info = folder / f"tensorrt_lean_cu12_libs-{BUILT}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: tensorrt_lean_cu12_libs\nVersion: {BUILT}\n"
    )
    path = folder / "tensorrt_lean_libs" / "libnvinfer_lean.so.10"
    path.parent.mkdir()
    (path.parent / "__init__.py").touch()
    path.touch()
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    return path


def test_the_library_is_that_of_the_installed_package(installed: Path) -> None:
    assert lean.lean_library(BUILT) == installed


def test_the_library_is_not_one_of_another_version(installed: Path) -> None:
    with pytest.raises(RuntimeUnavailableError) as raised:
        lean.lean_library("10.12.0.37")
    assert (
        f"and tensorrt-lean {BUILT} is installed; install tensorrt-lean==10.12.0.37, or set"
        in str(raised.value)
    )


def test_the_library_must_be_there(installed: Path) -> None:
    installed.unlink()
    with pytest.raises(
        RuntimeUnavailableError, match=rf"of TensorRT {BUILT}, which its installed package lacks"
    ):
        lean.lean_library(BUILT)


def test_the_library_is_the_one_that_the_environment_names(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.so").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(lean.VARIABLE, "mine.so")
    assert lean.lean_library(BUILT) == tmp_path / "mine.so"


def test_a_library_that_is_named_and_not_there_is_refused(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(lean.VARIABLE, "/nowhere/lean.so")
    with pytest.raises(RuntimeUnavailableError) as raised:
        lean.lean_library(BUILT)
    assert str(raised.value) == (
        "MOTIVNET_TENSORRT_LEAN names '/nowhere/lean.so', which is no file; set it to the path of the "
        f"libnvinfer_lean.so.10 of TensorRT {BUILT}"
    )

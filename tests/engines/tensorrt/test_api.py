"""The two packages behind one name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from motivnet.errors import MissingDependencyError, RuntimeUnavailableError
from motivnet_engines.runtimes.tensorrt.api import MODULES, load_api
from motivnet_engines.runtimes.tensorrt.compatibility import this_platform


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder whose packages come before those that are installed."""
    for name in MODULES.values():
        monkeypatch.setitem(sys.modules, name, None)  # so that what is imported is removed again
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_tensorrt_rtx_is_loaded_with_its_version(rtx_installed: None) -> None:
    api = load_api("tensorrt-rtx")

    assert api.backend == "tensorrt-rtx"
    assert api.version == api.trt.__version__
    assert api.version.split(".")[0].isdecimal()


def test_tensorrt_is_loaded_by_the_same_code(packages: Path) -> None:
    (packages / "tensorrt.py").write_text("__version__ = '10.16.1.11'")

    assert load_api("tensorrt").version == "10.16.1.11"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "raise ImportError('libnvinfer.so.10: cannot open\\nshared object file')",
            "libnvinfer.so.10: cannot open shared",
        ),
        ("raise OSError('libcudart.so.13: no such file')", "libcudart.so.13: no such file"),
        ("raise RuntimeError('wrong GPU architecture')", "wrong GPU architecture"),
    ],
)
def test_a_package_without_its_libraries_is_unavailable_with_the_reason_in_one_line(
    packages: Path, text: str, reason: str
) -> None:
    (packages / "tensorrt.py").write_text(text)

    with pytest.raises(RuntimeUnavailableError) as caught:
        load_api("tensorrt")

    assert f"tensorrt is installed but cannot be loaded: {reason}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_package_that_is_not_installed_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, packages: Path
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)

    with pytest.raises(MissingDependencyError, match=r"pip install 'motivnet\[trt\]'"):
        load_api("tensorrt")


def test_the_platform_is_named_as_wheels_name_it() -> None:
    assert this_platform() in ("linux-x86_64", "linux-aarch64", "darwin-aarch64")

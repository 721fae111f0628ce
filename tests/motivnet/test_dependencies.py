"""Packages that are installed and cannot be imported: named, with the reason and the repair."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from motivnet import dependencies
from motivnet.dependencies import import_problem, is_installed, load_error
from motivnet.errors import BrokenDependencyError, MissingDependencyError

LIBRARY = "libGL.so.1: cannot open shared object file: No such file or directory"
BROKEN = {
    "a shared library": (f"raise ImportError({LIBRARY!r})", LIBRARY),
    "another NumPy": ("raise ValueError('numpy.dtype size changed')", "numpy.dtype size changed"),
    "a library that ctypes loads": (
        "import ctypes; ctypes.CDLL('libmissing.so.9')",
        "libmissing.so.9: cannot open shared object file: No such file or directory",
    ),
    "a file of another version": ("from os import missing", "cannot import name 'missing'"),
    "a part that is missing": ("import broken_there.part", "No module named 'broken_there.part'"),
}


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A function that puts packages of these sources first on the path."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(**sources: str) -> None:
        for name, source in sources.items():
            monkeypatch.delitem(sys.modules, name, raising=False)
            (tmp_path / name).mkdir()
            (tmp_path / name / "__init__.py").write_text(source)

    return write


@pytest.mark.parametrize("kind", BROKEN)
def test_a_package_that_cannot_be_loaded_is_named_with_the_reason_and_a_repair(
    kind: str, packages
) -> None:
    source, reason = BROKEN[kind]
    packages(broken_there=source)
    problem = load_error("broken_there")
    assert isinstance(problem, BrokenDependencyError)
    assert str(problem).startswith(f"broken_there is installed but cannot be loaded: {reason}"), (
        problem
    )
    assert str(problem).endswith("repair it with: pip install --force-reinstall broken_there")


def test_the_innermost_package_is_the_broken_one(packages) -> None:
    packages(outer_there="import inner_there", inner_there="1 / 0")
    problem = load_error("outer_there")
    assert isinstance(problem, BrokenDependencyError)
    assert problem.package == "inner_there"


def test_a_missing_package_of_an_extra_is_not_a_broken_one(
    packages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    packages(needs_there="import onnxscript")
    problem = load_error("needs_there")
    assert isinstance(problem, MissingDependencyError)
    assert "pip install 'motivnet[export]'" in str(problem)


@pytest.mark.parametrize(
    ("installed", "removed"),
    [
        ([], ""),
        (["opencv-python"], "pip uninstall -y opencv-python && "),
        (
            ["opencv-python-headless", "opencv-python", "opencv-python"],
            "pip uninstall -y opencv-python opencv-python-headless && ",
        ),
    ],
)
def test_opencv_is_repaired_by_removing_all_that_bring_it(
    installed: list[str], removed: str, packages, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages(cv2=f"raise ImportError({LIBRARY!r})")
    monkeypatch.setattr(dependencies, "packages_distributions", lambda: {"cv2": installed})
    problem = load_error("cv2")
    assert isinstance(problem, BrokenDependencyError)
    assert problem.repair == f"{removed}pip install opencv-python-headless"


@pytest.mark.parametrize(
    "error",
    [
        None,
        ValueError("a bug of ours"),
        ImportError("no name"),
        ModuleNotFoundError("No module named 'motivnet.x'", name="motivnet.x"),
        ModuleNotFoundError("No module named 'unknown_x'", name="unknown_x"),
    ],
)
def test_other_errors_are_about_no_package(error: Exception | None) -> None:
    assert import_problem(error) is None


def test_a_package_that_works_has_no_problem(packages) -> None:
    packages(works_there="")
    assert load_error("works_there") is None


def test_an_error_of_a_package_that_works_is_no_problem_of_its_import() -> None:
    with pytest.raises(AttributeError) as caught:
        EntryPoint("a", "sys:no_attribute", "c").load()
    assert import_problem(caught.value) is None


def test_a_module_is_found_without_being_loaded(packages) -> None:
    packages(broken_there="1 / 0")
    assert is_installed("broken_there")
    assert is_installed("broken_there.part")
    assert not is_installed("missing_there.part")

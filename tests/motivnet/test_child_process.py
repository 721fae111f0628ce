"""A child Python takes no module from the working directory, and finds all that its parent finds elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from motivnet.child_process import isolated_module, search_path

PLANTED = ("encodings", "json", "numpy", "runpy", "sitecustomize", "usercustomize")


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of modules, and the variables by which a Python finds them there."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    for name in PLANTED:
        (folder / f"{name}.py").write_text("raise SystemExit('a planted module ran')\n")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep)
    monkeypatch.setenv("PYTHONSTARTUP", str(folder / "json.py"))
    return folder


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module in a folder that this process alone looks into."""
    folder = tmp_path / "tools"
    folder.mkdir()
    text = "import json, sys, numpy\nprint(json.dumps([__name__, sys.argv[1:], sys.path]))\n"
    (folder / "planted_tool.py").write_text(text)
    monkeypatch.syspath_prepend(folder)
    return folder


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_nothing_of_the_working_directory_is_imported(hostile: Path, tool: Path) -> None:
    done = run(isolated_module("planted_tool", "first", "second"))
    assert done.returncode == 0, done.stderr
    name, arguments, path = json.loads(done.stdout)
    assert (name, arguments) == ("__main__", ["first", "second"])
    assert path == search_path()
    assert str(tool) in path
    assert str(hostile) not in path


def test_the_modules_that_are_planted_would_run_otherwise(hostile: Path, tool: Path) -> None:
    done = run([sys.executable, "-P", "-c", "import numpy"])
    assert "a planted module ran" in done.stderr


@pytest.mark.parametrize("entry", ["", "relative", "."])
def test_what_is_relative_to_the_working_directory_is_left_out(
    entry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [entry, *sys.path])
    assert all(Path(found).is_absolute() for found in search_path())


def test_the_working_directory_is_left_out_under_any_name(
    hostile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(hostile)
    monkeypatch.setattr(sys, "path", [str(hostile), str(tmp_path / "link"), *sys.path])
    assert not {str(hostile), str(tmp_path / "link")} & set(search_path())


def test_a_checkout_of_this_toolkit_may_be_the_working_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import motivnet

    root = Path(motivnet.__file__).parents[1]
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "path", [str(root), *sys.path])
    assert str(root) in search_path()


PARENT = """
import subprocess
from motivnet.child_process import isolated_module
print(subprocess.run(isolated_module("planted_tool"), capture_output=True, text=True, check=True).stdout)
"""


def test_an_editable_installation_of_the_user_starts_its_children(tmp_path: Path) -> None:
    """What ``pip install --user --editable`` leaves: the folders in a ``.pth`` file that an isolated Python ignores."""
    import motivnet

    python = getattr(
        sys, "_base_executable", sys.executable
    )  # a virtual environment has no site of the user's
    variables = {"PYTHONUSERBASE": str(tmp_path / "user")}
    asked = [python, "-c", "import site; print(site.getusersitepackages())"]
    packages = Path(
        subprocess.run(
            asked, env=variables, capture_output=True, text=True, check=True
        ).stdout.strip()
    )
    packages.mkdir(parents=True)
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "planted_tool.py").write_text(
        "import motivnet\nprint('started', motivnet.__file__)\n"
    )
    root = Path(motivnet.__file__).parents[1]
    (packages / "_editable_impl_motivnet.pth").write_text(f"{root}\n{tmp_path / 'tools'}\n")
    line = [python, "-c", PARENT]
    done = subprocess.run(
        line, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["started", motivnet.__file__], done.stderr


def test_a_working_directory_that_is_gone_is_no_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    assert search_path() == [entry for entry in sys.path if Path(entry).is_absolute()]

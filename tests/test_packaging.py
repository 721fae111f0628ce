"""The wheel and the sdist: their content, and that no import of a device needs torch."""

from __future__ import annotations

import configparser
import email
import hashlib
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import tomllib

from motivnet_engines.faces import YUNET

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.install
PACKAGES = {
    "motivnet",
    "motivnet_bench",
    "motivnet_engines",
    "motivnet_export",
    "motivnet_training",
}
SOURCES = [ROOT, *(ROOT / folder for folder in ("bench", "engines", "export", "training"))]
ENTRY_POINTS = {
    "motivnet": "motivnet_engines.cli:main",
    "motivnet-bench": "motivnet_bench.cli:main",
    "motivnet-export": "motivnet_export.cli:main",
    "motivnet-train": "motivnet_training.cli:main",
}
LICENCES = ["LICENSE", "NOTICE", "engines/motivnet_engines/faces/LICENSE.yunet"]
NOT_ON_A_DEVICE = (
    "torch",
    "lightning_fabric",
    "onnx",
    "onnx_ir",
    "onnxscript",
    "safetensors",
    "sklearn",
    "matplotlib",
)

# Imports every module given as an argument in a Python that has none of the packages above.
IMPORT_WITHOUT_TORCH = f"""
import importlib, importlib.util, sys, types

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {NOT_ON_A_DEVICE!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
# Triton's Python backend alone has it; what runs there needs no torch either.
sys.modules["triton_python_backend_utils"] = types.ModuleType("triton_python_backend_utils")
from motivnet.errors import MissingDependencyError

for name in sys.argv[1:]:
    try:
        print(name, importlib.import_module(name).__file__)
    except MissingDependencyError as error:
        # pycuda is built from source and tested elsewhere; the others belong to optional extras
        if error.package not in ("pycuda", "scikit-learn", "matplotlib"):
            raise
        print(name, importlib.util.find_spec(name).origin)
"""


def build(form: str, folder: Path) -> Path:
    """What a release would be, but for the environment, which is the one that is already here."""
    command = [sys.executable, "-m", "build", f"--{form}", "--no-isolation"]
    command += ["--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run_python(code: str, *arguments: str, packages: Path) -> str:
    """What a program prints that finds our packages in ``packages`` and nowhere else."""
    environment = {**os.environ, "PYTHONPATH": str(packages), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, cwd=packages
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def modules_of(package: str, unpacked: Path) -> list[str]:
    found = sorted(path for path in (unpacked / package).rglob("*.py") if path.stem != "__main__")
    return [
        ".".join(path.relative_to(unpacked).with_suffix("").parts).removesuffix(".__init__")
        for path in found
    ]


def declared_torch_free() -> list[str]:
    """The modules of ``motivnet`` that import-linter forbids to import torch."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    (contract,) = (contract for contract in contracts if contract["type"] == "forbidden")
    return [name for name in contract["source_modules"] if name.startswith("motivnet.")]


def test_the_wheel_has_our_packages_and_nothing_else_at_its_top(names: set[str]) -> None:
    top = {name.split("/")[0] for name in names}
    (information,) = (name for name in top if name.endswith(".dist-info"))
    assert top - {information} == PACKAGES
    assert information.startswith("motivnet-")


def test_the_wheel_has_every_file_of_the_packages(names: set[str]) -> None:
    for source in SOURCES:
        for package in PACKAGES & set(os.listdir(source)):
            files = (
                path
                for path in (source / package).rglob("*")
                if path.is_file() and path.suffix != ".pyc"
            )
            assert {str(path.relative_to(source)) for path in files} <= names


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_each_package_tells_type_checkers_that_it_is_typed(package: str, names: set[str]) -> None:
    assert f"{package}/py.typed" in names


def test_no_test_no_artifact_and_no_weights_but_the_detectors_are_in_the_wheel(
    names: set[str],
) -> None:
    folders = {part for name in names for part in name.split("/")[:-1]}
    assert not folders & {"tests", "artifacts", "runs", "__pycache__", ".venv"}
    weights = [
        name
        for name in names
        if name.endswith((".safetensors", ".onnx", ".data", ".pth", ".ckpt", ".pyc"))
    ]
    assert weights == [f"motivnet_engines/faces/{YUNET.name}"]
    assert "motivnet_engines/faces/LICENSE.yunet" in names


def test_the_wheel_and_the_sdist_hold_the_licences(
    wheel: Path, sdist: Path, unpacked: Path
) -> None:
    (information,) = unpacked.glob("motivnet-*.dist-info")
    metadata = email.message_from_bytes((information / "METADATA").read_bytes())
    assert metadata["License-Expression"] == "Apache-2.0 AND MIT"
    assert metadata.get_all("License-File") == LICENCES
    with tarfile.open(sdist) as archive:
        (root,) = {name.split("/")[0] for name in archive.getnames()}
        for name in LICENCES:
            text = (ROOT / name).read_bytes()
            assert (information / "licenses" / name).read_bytes() == text
            member = archive.extractfile(f"{root}/{name}")
            assert member is not None
            assert member.read() == text


def test_the_licence_is_the_official_text() -> None:
    digest = hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest()
    assert digest == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"


def test_the_notice_names_the_weights_that_others_made() -> None:
    notice = (ROOT / "NOTICE").read_text()
    assert f"motivnet_engines/faces/{YUNET.name}" in notice
    assert "motivnet_engines/faces/LICENSE.yunet" in notice


def test_the_wheel_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size < 1_200_000  # a fifth of it is the face detector


def test_the_wheel_installs_the_four_commands(names: set[str], unpacked: Path) -> None:
    (listed,) = (name for name in names if name.endswith("entry_points.txt"))
    scripts = configparser.ConfigParser()
    scripts.read_string((unpacked / listed).read_text())
    assert dict(scripts["console_scripts"]) == ENTRY_POINTS


@pytest.mark.parametrize("command", ENTRY_POINTS)
def test_a_command_leads_to_a_function(command: str, unpacked: Path) -> None:
    module, name = ENTRY_POINTS[command].split(":")
    code = f"import {module} as cli; print(callable(cli.{name}), cli.__file__)"
    assert run_python(code, packages=unpacked).startswith(f"True {unpacked}/")


def test_everything_that_a_device_imports_needs_no_torch(unpacked: Path) -> None:
    wanted = [*declared_torch_free(), *modules_of("motivnet_engines", unpacked)]
    assert len(wanted) > 15
    printed = run_python(IMPORT_WITHOUT_TORCH, *wanted, packages=unpacked)
    places = dict(line.split(" ", 1) for line in printed.splitlines())
    assert list(places) == wanted
    assert all(place.startswith(f"{unpacked}/") for place in places.values())


def test_no_module_escapes_the_ban_on_torch() -> None:
    modules = {path.stem if path.is_file() else path.name for path in (ROOT / "motivnet").iterdir()}
    expected = modules - {"__init__", "__pycache__", "py", "py.typed", "model", "checkpoints"}
    assert {name.removeprefix("motivnet.") for name in declared_torch_free()} == expected


def test_the_ban_on_torch_in_that_test_is_real(unpacked: Path) -> None:
    with pytest.raises(AssertionError, match="No module named 'torch'"):
        run_python(IMPORT_WITHOUT_TORCH, "motivnet.model", packages=unpacked)

"""The diagnosis: what is here, what follows from it, and each fix once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import tomllib

from motivnet_engines.diagnostics import doctor
from motivnet_engines.diagnostics.capabilities import Capability
from motivnet_engines.diagnostics.diagnosis_tables import print_diagnosis
from motivnet_engines.diagnostics.doctor import diagnose, find_extras
from motivnet_engines.diagnostics.packages import REQUIRED, PackageStatus
from motivnet_engines.system.machine import read_machine
from motivnet_engines.system.nvidia import Gpu, NvidiaDriver

PROJECT = Path(__file__).resolve().parents[3] / "pyproject.toml"
NO_DRIVER = NvidiaDriver(
    version=None,
    cuda=None,
    gpus=(),
    missing_requirement="there is no libcuda.so.1",
    unused_gpu=False,
)
ADA = NvidiaDriver(
    version="580.95.05",
    cuda="13.0",
    gpus=(Gpu(name="NVIDIA L4", compute_capability="8.9", memory=24 << 30),),
    missing_requirement=None,
    unused_gpu=False,
)


@pytest.fixture(autouse=True)
def driver(monkeypatch: pytest.MonkeyPatch):
    """A function that sets the driver of this machine; there is none at first."""

    def choose(found: NvidiaDriver) -> None:
        monkeypatch.setattr(doctor, "read_driver", lambda: found)

    choose(NO_DRIVER)
    return choose


def test_the_diagnosis_tells_what_is_here(driver) -> None:
    driver(ADA)
    found = diagnose()
    assert (found.driver, found.cuda_devices) == (ADA, 1)
    assert found.machine.processor == read_machine().processor
    assert found.healthy


def test_with_no_runtime_the_machine_is_not_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert diagnose().healthy
    for module in ("onnxruntime", "openvino"):
        monkeypatch.setitem(sys.modules, module, None)
    assert not diagnose().healthy


def test_a_line_that_closes_several_gaps_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("onnxruntime", "openvino", "tensorrt"):
        monkeypatch.setitem(sys.modules, module, None)
    fixes = diagnose().fixes
    assert fixes["onnxruntime"] == "pip install 'motivnet[cpu]'"
    assert fixes["tensorrt"] == "pip install 'motivnet[trt]'"
    assert len(set(fixes.values())) == len(fixes)


def test_a_driver_that_is_missing_comes_first(driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor, "driver_fix", lambda *around: "sudo ubuntu-drivers install && sudo reboot"
    )
    assert next(iter(diagnose().fixes)) == "NVIDIA driver"


def test_the_page_names_gpu_packages_abilities_and_repairs(
    driver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    driver(ADA)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    print_diagnosis(diagnose())
    page = capsys.readouterr().out
    for words in (
        "580.95.05; CUDA 13.0",
        "NVIDIA L4, SM 89, 24.0 GiB",
        "can be built",
        "can be run",
        "openvino-bf16",
        "tensorrt is not installed",
        "pip install 'motivnet[trt]'",
    ):
        assert words in page
    lines = [line.rstrip() for line in page.splitlines() if sys.executable not in line]
    assert max(map(len, lines)) <= 100


def usable(name: str) -> PackageStatus:
    return PackageStatus(name=name, version="1", usable=True, detail="needed", fix=None)


def extra_command(name: str, **packages: PackageStatus) -> Capability:
    found = find_extras({each: usable(each) for each in REQUIRED} | packages)
    return next(each for each in found if each.name == name)


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("HEIC pictures", "pillow_heif", "heic"),
        ("videos, cameras, streams", "av", "video"),
        ("motivnet serve", "uvicorn", "serve"),
        ("motivnet adapt", "sklearn", "adapt"),
        ("motivnet predict-dataset", "ray", "ray"),
    ],
)
def test_a_missing_package_names_its_extra(
    name: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (extra_command(name).possible, extra_command(name).detail) == (True, "")
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda asked: None if asked == package else object()
    )
    assert (extra_command(name).possible, extra_command(name).detail) == (
        False,
        f"pip install 'motivnet[{extra}]'",
    )
    assert extra in tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]


def test_nothing_can_be_used_if_a_package_of_every_command_is_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = PackageStatus(
        name="opencv", version="1", usable=False, detail="cv2 cannot be loaded", fix="pip"
    )
    statuses = tuple(
        broken if each.name == "opencv" else each
        for each in doctor.package_statuses(devices=0, jetson=None)
    )
    monkeypatch.setattr(doctor, "package_statuses", lambda **machine: statuses)
    found = diagnose()
    capabilities = (*found.builds, *found.runtimes, *found.extras)
    assert {(each.possible, each.detail) for each in capabilities} == {
        (False, "cv2 cannot be loaded")
    }
    assert not found.healthy

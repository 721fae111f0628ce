"""NVIDIA's real lean runtime on a machine whose driver is missing or too old for it.

It needs no GPU to be tried: it says that CUDA does not start, gives a runtime all the same, and
ends the process at the first engine. The wheels are downloaded once.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # for the packages beside this module
from conformance.wheels import OutOfReachError, Wheel, downloaded
from fake_cuda import driver

pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]

VERSION = "11.4.0.106"
PACKAGES = ("tensorrt-lean-cu13-libs", "tensorrt-lean-cu13-bindings")

LOAD = """
import sys
import tensorrt_lean_bindings
from motivnet.errors import MotivNetError
from motivnet_engines.runtimes.tensorrt.api import Api
from motivnet_engines.runtimes.tensorrt.engine import new_runtime

lean = tensorrt_lean_bindings
api = Api(backend="tensorrt", trt=lean, version=lean.__version__)
try:
    runtime = new_runtime(api) if sys.argv[1] == "checked" else api.trt.Runtime(api.trt.Logger())
    runtime.deserialize_cuda_engine(b"ftrt" + bytes(4096))
except MotivNetError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def lean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the lean runtime and its bindings; a skip where the index is out of reach."""
    folder = tmp_path_factory.mktemp("lean")
    for package in PACKAGES:
        wheel = Wheel(package=package, version=VERSION, module="tensorrt_lean_bindings")
        try:
            path = downloaded(wheel)
        except OutOfReachError as error:
            pytest.skip(str(error))
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
    return folder


@pytest.mark.parametrize("present", [False, True], ids=["no driver", "a driver that is too old"])
def test_an_engine_is_refused_in_one_line_instead_of_a_crash(present: bool, lean: Path) -> None:
    environment = driver.environment() if present else dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join([str(lean), *sys.path])

    def run(how: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", LOAD, how],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    assert run("unchecked").returncode < 0, "NVIDIA mended it: the check may go"
    checked = run("checked")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout.startswith(f"tensorrt {VERSION} does not start: createInferRuntime: ")
    assert "CUDA initialization failure with error: 3" in checked.stdout
    assert checked.stdout.endswith("motivnet doctor compares the driver with the package\n")

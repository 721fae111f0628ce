"""The pycuda that the simulated tests run with: it builds, and its driver is the fake."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).resolve().parent


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"motivnet_tests_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


driver = loaded(HERE / "fake_cuda" / "driver.py")
pycuda_build = loaded(HERE / "pycuda_build.py")

pytestmark = pytest.mark.timeout(5 * pycuda_build.BUILD_SECONDS)


@pytest.fixture(scope="module")
def pycuda() -> Path:
    result = pycuda_build.built(driver.compiled(), driver.cache_folder())
    assert not result.failed, result.failed
    if result.folder is None:
        pytest.skip(result.skipped)
    return Path(result.folder)


def symbols(library: Path, which: str) -> set[str]:
    command = ["nm", "--dynamic", which, "--format=posix", str(library)]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {line.split()[0] for line in listed.splitlines() if line.startswith("cu")}


def test_the_fake_defines_every_function_that_pycuda_links_to(pycuda: Path) -> None:
    (library,) = (pycuda / "pycuda").glob("_driver*.so")
    wanted = symbols(library, "--undefined-only")
    assert len(wanted) > 100
    assert wanted - symbols(driver.compiled() / driver.LIBRARY, "--defined-only") == set()


def test_pycuda_without_a_driver_is_refused_with_the_remedy(pycuda: Path) -> None:
    code = """
from motivnet.errors import RuntimeUnavailableError
from motivnet_engines.runtimes.tensorrt.cuda import open_memory
try:
    open_memory("pycuda")
except RuntimeUnavailableError as error:
    print(error)
"""
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(pycuda), *sys.path])}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=variables
    )
    if not result.stdout:
        pytest.skip("this machine has a CUDA driver")
    assert result.stdout.startswith(
        "CUDA cannot be used on this machine: libcuda.so.1: cannot open shared object file"
    )
    assert "install NVIDIA's driver" in result.stdout
    assert result.stdout.count("\n") == 1


def test_packages_out_of_reach_are_skipped_with_a_reason_here_and_fail_in_ci(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pycuda_build, "_pip", _refuse)
    for ci, expected in (("", "skipped"), ("true", "failed")):
        monkeypatch.setenv("CI", ci)
        result = pycuda_build.built(tmp_path, tmp_path / f"cache{ci}")
        assert result.folder is None
        assert "no such package" in getattr(result, expected)


def _refuse(*arguments: str) -> None:
    raise subprocess.CalledProcessError(
        1, ["pip", *arguments], "", "WARNING: slow\nERROR: no such package\n"
    )

"""Opening CUDA memory on a machine without a driver, and how an implementation is chosen.

What the implementations do once they are open is tested on a fake driver, in the folder
``simulated``.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from importlib.machinery import ModuleSpec

import pytest

from motivnet.errors import ConfigError, MissingDependencyError, RuntimeUnavailableError
from motivnet_engines.runtimes.tensorrt import cuda as memory
from motivnet_engines.runtimes.tensorrt.cuda import open_memory


def _has_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


without_driver = pytest.mark.skipif(_has_driver(), reason="this machine has a CUDA driver")


def installed(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """Lets the machine have these modules and no others of CUDA."""

    def find_spec(name: str) -> ModuleSpec | None:
        if name == "cuda.bindings" and name not in modules:
            raise ModuleNotFoundError("No module named 'cuda'")  # as for a parent that is missing
        return ModuleSpec(name, None) if name in modules else None

    monkeypatch.setattr("importlib.util.find_spec", find_spec)


@without_driver
def test_without_a_driver_the_error_says_what_to_install() -> None:
    with pytest.raises(
        RuntimeUnavailableError,
        match=r"CUDA cannot be used on this machine: .*install NVIDIA's driver",
    ):
        open_memory("cuda-bindings")


@without_driver
def test_the_error_without_a_driver_is_one_line() -> None:
    with pytest.raises(RuntimeUnavailableError) as caught:
        open_memory()
    assert "\n" not in str(caught.value)


def test_an_unknown_implementation_is_refused_with_the_two_there_are() -> None:
    with pytest.raises(ConfigError, match="'cupy'; choose cuda-bindings or pycuda"):
        open_memory("cupy")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("modules", "chosen"),
    [
        (("cuda.bindings", "pycuda"), "cuda-bindings"),
        (("cuda.bindings",), "cuda-bindings"),
        (("pycuda",), "pycuda"),
    ],
)
def test_cuda_bindings_are_chosen_before_pycuda(
    monkeypatch: pytest.MonkeyPatch, modules: tuple[str, ...], chosen: str
) -> None:
    installed(monkeypatch, *modules)
    assert memory._installed() == chosen


def test_with_neither_installed_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)
    with pytest.raises(
        MissingDependencyError, match=r"cuda-bindings is not installed.*motivnet\[trt\]"
    ):
        open_memory()


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [("cuda-bindings", "cuda.bindings", "trt"), ("pycuda", "pycuda", "pycuda")],
)
def test_an_implementation_that_is_not_installed_names_its_extra(
    name: str, module: str, extra: str
) -> None:
    code = f"""
import sys
sys.modules[{module!r}] = None
from motivnet.errors import MissingDependencyError
from motivnet_engines.runtimes.tensorrt.cuda import open_memory
try:
    open_memory({name!r})
except MissingDependencyError as error:
    print(error)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert (
        result.stdout.strip()
        == f"{name} is not installed; install it with: pip install 'motivnet[{extra}]'"
    )

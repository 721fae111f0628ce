"""Which compiler a machine is offered, and what it is told if it has none."""

from __future__ import annotations

from typing import Any

import pytest

from motivnet.errors import MissingDependencyError, RuntimeUnavailableError
from motivnet_engines.build import backend as module
from motivnet_engines.build.backend import check_backend, choose_backend
from motivnet_engines.system.machine import Jetson
from motivnet_engines.system.nvidia import NvidiaDriver

ORIN = Jetson(model="Jetson AGX Orin", l4t="36.4.3", jetpack="6")


@pytest.fixture
def jetson(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that makes this machine a Jetson, with or without a GPU; it has no TensorRT."""

    def set_up(*, gpus: int) -> None:
        monkeypatch.setattr(module, "read_jetson", lambda: ORIN)
        monkeypatch.setattr(module, "_loads", lambda backend: False)
        monkeypatch.setattr(module, "capabilities_here", lambda: ("87",) * gpus)
        monkeypatch.setattr(module, "cuda_device_count", lambda: gpus)
        found = NvidiaDriver(
            version=None,
            cuda="12.6" if gpus else None,
            gpus=(),
            missing_requirement=None if gpus else "there is no libcuda.so.1",
            unused_gpu=False,
        )
        monkeypatch.setattr(module, "read_driver", lambda: found)
        monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)

    return set_up


@pytest.mark.parametrize("gpus", [0, 1])
def test_a_jetson_without_tensorrt_is_sent_to_jetpack_and_not_to_pip(
    jetson: Any, gpus: int
) -> None:
    jetson(gpus=gpus)

    with pytest.raises(RuntimeUnavailableError, match="JetPack and not of pip; run: sudo apt-get"):
        choose_backend(None)


def test_a_jetson_whose_gpu_cannot_be_used_is_not_told_to_compile_for_rtx(jetson: Any) -> None:
    jetson(gpus=0)

    with pytest.raises(RuntimeUnavailableError, match=r"no libcuda\.so\.1; motivnet doctor says"):
        check_backend("tensorrt")


@pytest.mark.parametrize("gpus", [0, 1])
def test_another_machine_is_sent_to_pip(
    jetson: Any, gpus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    jetson(gpus=gpus)
    monkeypatch.setattr(module, "read_jetson", lambda: None)

    with pytest.raises(MissingDependencyError, match="rtx" if gpus == 0 else "trt"):
        choose_backend(None)

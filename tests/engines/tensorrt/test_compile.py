"""How options become calls. The enumerations are real; the configuration is a recording one:
simulated, not executed.

``tensorrt`` builds only on a GPU, so that the calls which are its alone are seen here and nowhere
run.
"""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest

from motivnet.artifact.engine_entry import EngineDevice
from motivnet.errors import EngineError
from motivnet_engines.build.compile import apply_options, build_with_timing_cache
from motivnet_engines.build.options import EngineOptions
from motivnet_engines.runtimes.tensorrt.api import Api, load_api

DEVICE = EngineDevice(name="NVIDIA A10", compute_capability="8.6", memory=24 << 30, driver="13.0")


class RecordingConfig:
    """Keeps what is set and called."""

    def __init__(self, *, accepts: bool = True) -> None:
        self.__dict__["record"] = []
        self.__dict__["accepts"] = accepts

    def __setattr__(self, name: str, value: Any) -> None:
        self.record.append((name, value))

    def set_flag(self, flag: Any) -> None:
        self.record.append(("set_flag", flag.name))

    def clear_flag(self, flag: Any) -> None:
        self.record.append(("clear_flag", flag.name))

    def set_memory_pool_limit(self, pool: Any, size: int) -> None:
        self.record.append(("set_memory_pool_limit", pool.name, size))

    def create_timing_cache(self, data: bytes) -> Any:
        self.record.append(("create_timing_cache", data))
        return types.SimpleNamespace(serialize=lambda: b"old and new timings")

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        self.record.append(("set_timing_cache", ignore_mismatch))
        self.__dict__["cache"] = cache
        return bool(self.accepts)

    def get_timing_cache(self) -> Any:
        return self.cache


class RecordingRtxConfig(RecordingConfig):
    def set_compute_capability(self, capability: Any, index: int) -> bool:
        self.record.append(("set_compute_capability", capability.name, index))
        return bool(self.accepts)


@pytest.fixture
def tensorrt(rtx_installed: None) -> Api:
    """TensorRT's own enumerations have the same names; their values play no part."""
    return Api(backend="tensorrt", trt=load_api("tensorrt-rtx").trt, version="10.16.1.11")


@pytest.fixture
def rtx(rtx_installed: None) -> Api:
    return load_api("tensorrt-rtx")


@pytest.mark.parametrize(
    ("options", "calls"),
    [
        ({}, []),
        ({"workspace": 1 << 30}, [("set_memory_pool_limit", "WORKSPACE", 1 << 30)]),
        ({"optimisation_level": 0}, [("builder_optimization_level", 0)]),
        ({"weight_streaming": True}, [("set_flag", "WEIGHT_STREAMING")]),
        (
            {"version_compatible": True},
            [("set_flag", "VERSION_COMPATIBLE"), ("set_flag", "EXCLUDE_LEAN_RUNTIME")],
        ),
    ],
)
def test_each_option_of_tensorrt_is_one_setting_beside_those_that_are_always_made(
    tensorrt: Api, options: dict[str, Any], calls: list[Any]
) -> None:
    config = RecordingConfig()

    apply_options(tensorrt, config, EngineOptions(backend="tensorrt", **options))

    always = [
        ("profiling_verbosity", tensorrt.trt.ProfilingVerbosity.DETAILED),
        ("clear_flag", "TF32"),
    ]
    assert config.record == [*always, *calls]


@pytest.mark.parametrize(
    ("asked", "level"),
    [("ampere-plus", "AMPERE_PLUS"), ("same-compute-capability", "SAME_COMPUTE_CAPABILITY")],
)
def test_hardware_compatibility_is_set_by_name(tensorrt: Api, asked: Any, level: str) -> None:
    config = RecordingConfig()

    apply_options(tensorrt, config, EngineOptions(backend="tensorrt", hardware_compatibility=asked))

    assert config.record[-1] == (
        "hardware_compatibility_level",
        getattr(tensorrt.trt.HardwareCompatibilityLevel, level),
    )


def test_a_level_that_this_version_lacks_is_an_error(tensorrt: Api) -> None:
    old = types.SimpleNamespace(
        ProfilingVerbosity=tensorrt.trt.ProfilingVerbosity,
        BuilderFlag=tensorrt.trt.BuilderFlag,
        HardwareCompatibilityLevel=types.SimpleNamespace(NONE=0, AMPERE_PLUS=1),
    )
    options = EngineOptions(backend="tensorrt", hardware_compatibility="same-compute-capability")

    with pytest.raises(
        EngineError, match=r"TensorRT 10\.3 has no hardware compatibility 'same-compute-capability'"
    ):
        apply_options(Api(backend="tensorrt", trt=old, version="10.3"), RecordingConfig(), options)


def test_the_number_of_compute_capabilities_is_set_before_they_are(rtx: Api) -> None:
    config = RecordingRtxConfig()

    apply_options(
        rtx, config, EngineOptions(backend="tensorrt-rtx", compute_capabilities=("86", "89"))
    )

    assert config.record[2:] == [
        ("num_compute_capabilities", 2),
        ("set_compute_capability", "SM86", 0),
        ("set_compute_capability", "SM89", 1),
    ]


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (RecordingRtxConfig(accepts=False), "86"),
        (RecordingRtxConfig(), "87"),
        (RecordingConfig(), "86"),
    ],
    ids=["refused", "unknown", "no such call"],
)
def test_a_compute_capability_that_is_not_taken_is_an_error(
    rtx: Api, config: Any, name: str
) -> None:
    with pytest.raises(
        EngineError, match=r"does not compile for SM 8|builds for the GPU of this machine alone"
    ):
        apply_options(
            rtx, config, EngineOptions(backend="tensorrt-rtx", compute_capabilities=(name,))
        )


def test_the_real_configuration_takes_every_option_of_tensorrt_rtx(rtx: Api) -> None:
    from motivnet_engines.runtimes.tensorrt.log import logger_of

    config = rtx.trt.Builder(logger_of(rtx)).create_builder_config()
    options = EngineOptions(
        backend="tensorrt-rtx",
        workspace=1 << 28,
        optimisation_level=2,
        weight_streaming=True,
        compute_capabilities=("86", "120"),
    )

    apply_options(rtx, config, options)

    assert config.profiling_verbosity == rtx.trt.ProfilingVerbosity.DETAILED
    assert config.get_memory_pool_limit(rtx.trt.MemoryPoolType.WORKSPACE) == 1 << 28
    assert config.builder_optimization_level == 2
    assert not config.get_flag(rtx.trt.BuilderFlag.TF32)
    assert config.get_flag(rtx.trt.BuilderFlag.WEIGHT_STREAMING)
    assert [config.get_compute_capability(i).name for i in range(2)] == ["SM86", "SM120"]


def test_timings_are_read_before_a_build_and_written_after_it(
    tensorrt: Api, tmp_path: Path
) -> None:
    options = EngineOptions(backend="tensorrt", timing_cache=tmp_path / "timings")
    first, second = RecordingConfig(), RecordingConfig()

    for config in (first, second):
        with build_with_timing_cache(tensorrt, config, options, DEVICE):
            config.record.append("build")

    assert first.record == [("create_timing_cache", b""), ("set_timing_cache", False), "build"]
    assert second.record[0] == ("create_timing_cache", b"old and new timings")


def test_a_build_that_fails_does_not_write_timings(tensorrt: Api, tmp_path: Path) -> None:
    options = EngineOptions(backend="tensorrt", timing_cache=tmp_path / "timings")

    with (
        pytest.raises(EngineError, match="no"),
        build_with_timing_cache(tensorrt, RecordingConfig(), options, DEVICE),
    ):
        raise EngineError("no")

    assert [path.name for path in tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("version", "device", "changes"),
    [
        ("10.16.1.12", DEVICE, {}),
        (
            "10.16.1.11",
            EngineDevice(name="NVIDIA A30", compute_capability="8.0", memory=1, driver="13.0"),
            {},
        ),
        (
            "10.16.1.11",
            EngineDevice(name="NVIDIA A10", compute_capability="8.6", memory=1, driver="12.9"),
            {},
        ),
        (
            "10.16.1.11",
            EngineDevice(name="NVIDIA A10", compute_capability="8.9", memory=1, driver="13.0"),
            {},
        ),
        ("10.16.1.11", DEVICE, {"optimisation_level": 4}),
        ("10.16.1.11", DEVICE, {"version_compatible": True}),
        ("10.16.1.11", DEVICE, {"hardware_compatibility": "ampere-plus"}),
    ],
    ids=[
        "version",
        "GPU",
        "driver",
        "compute capability",
        "level",
        "version-compatible",
        "hardware",
    ],
)
def test_timings_of_another_version_gpu_driver_or_flag_are_refused(
    tensorrt: Api, tmp_path: Path, version: str, device: EngineDevice, changes: dict[str, Any]
) -> None:
    path = tmp_path / "timings"
    with build_with_timing_cache(
        tensorrt, RecordingConfig(), EngineOptions(backend="tensorrt", timing_cache=path), DEVICE
    ):
        pass
    api = Api(backend="tensorrt", trt=tensorrt.trt, version=version)
    options = EngineOptions(backend="tensorrt", timing_cache=path, **changes)

    with (
        pytest.raises(EngineError),
        build_with_timing_cache(api, RecordingConfig(), options, device),
    ):
        pytest.fail("the build began")


def test_timings_that_tensorrt_refuses_are_an_error(tensorrt: Api, tmp_path: Path) -> None:
    options = EngineOptions(backend="tensorrt", timing_cache=tmp_path / "timings")
    config = RecordingConfig(accepts=False)

    with (
        pytest.raises(EngineError, match="refuses the timing cache"),
        build_with_timing_cache(tensorrt, config, options, DEVICE),
    ):
        pytest.fail("the build began")

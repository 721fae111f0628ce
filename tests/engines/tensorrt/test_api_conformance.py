"""Every call of ours exists in every version that we support, looked up in NVIDIA's own bindings.

The bindings are imported against empty stand-ins for the libraries: this says that a call is there
and takes these arguments, never that it works. What is called is read from our source, not listed
here.
"""

from __future__ import annotations

import functools
import importlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
ENGINES = ROOT / "engines" / "motivnet_engines"
FOLDERS = [ENGINES / "build", ENGINES / "runtimes" / "tensorrt"]
PACKAGE = sorted(path for folder in FOLDERS for path in folder.rglob("*.py"))
OTHERS = [
    path
    for folder in ("motivnet", "engines", "export", "training", "bench")
    for path in (ROOT / folder).rglob("*.py")
    if path not in PACKAGE
]


def broken(rule: Callable[[Path], list[str]], paths: list[Path]) -> dict[str, list[str]]:
    """What a rule finds in each file where it finds anything."""
    return {str(path.relative_to(ROOT)): found for path in paths if (found := rule(path))}


def loaded(name: str) -> ModuleType:
    """A module of the package beside this file, which no distribution holds."""
    sys.path.insert(0, str(HERE))
    try:
        return importlib.import_module(f"conformance.{name}")
    finally:
        sys.path.remove(str(HERE))


check, rules, wheels, stubs = loaded("check"), loaded("rules"), loaded("wheels"), loaded("stubs")
RTX = [wheel for wheel in check.TENSORRT if "rtx" in wheel.package]
TEN_3, TEN_16, ELEVEN_4 = check.TENSORRT[0], check.TENSORRT[3], check.TENSORRT[4]
CUDA_12, CUDA_13 = check.DRIVER[0], check.DRIVER[-1]
Checks = Callable[[list[Path], Any], Any]

PREFACE = """from __future__ import annotations
from typing import Any
from motivnet_engines.runtimes.tensorrt.api import Api

"""

MISSING = {
    "a removed property": (
        "def plant(engine: Any) -> int:\n    return engine.device_memory_size\n",
        ELEVEN_4,
        "has no ICudaEngine.device_memory_size",
    ),
    "a removed flag": (
        "def plant(api: Api, config: Any) -> None:\n"
        "    config.set_flag(api.trt.BuilderFlag.FP16)\n",
        ELEVEN_4,
        "has no BuilderFlag.FP16",
    ),
    "a flag under a name from a table": (
        'NAMES = {"half": "FP16"}\n\n\n'
        "def plant(api: Api, config: Any, name: str) -> None:\n"
        "    config.set_flag(getattr(api.trt.BuilderFlag, NAMES[name]))\n",
        ELEVEN_4,
        "has no BuilderFlag.FP16",
    ),
    "an object that one function makes and another uses": (
        "def made(api: Api, log: Any) -> Any:\n    return api.trt.Runtime(log)\n\n\n"
        "class Owner:\n"
        "    def __init__(self, api: Api) -> None:\n        self._opened = made(api, None)\n\n"
        "    def use(self, data: bytes) -> None:\n"
        "        for each in [self._opened]:\n            each.get_engine_validity(data)\n",
        TEN_16,
        "has no Runtime.get_engine_validity",
    ),
    "what only TensorRT-RTX has, under a check of something that all have": (
        "def plant(config: Any) -> None:\n"
        '    if hasattr(config, "set_flag"):\n        config.num_compute_capabilities = 1\n',
        TEN_3,
        "has no IBuilderConfig.num_compute_capabilities",
    ),
    "what only TensorRT-RTX has, in the branch of the other package": (
        "def plant(api: Api, config: Any) -> None:\n"
        '    if api.backend == "tensorrt":\n        config.num_compute_capabilities = 1\n',
        TEN_3,
        "has no IBuilderConfig.num_compute_capabilities",
    ),
    "a member that no version has": (
        "def plant(context: Any) -> None:\n    context.execute_async_v9(0)\n",
        ELEVEN_4,
        "has no IExecutionContext.execute_async_v9",
    ),
}

WRONG = {
    "an argument too many": (
        "def plant(context: Any) -> None:\n    context.execute_async_v3(1, 2)\n",
        "takes 1 arguments, not 2",
    ),
    "an argument too few": (
        "def plant(builder: Any, network: Any) -> None:\n"
        "    builder.build_serialized_network(network)\n",
        "lacks the argument 'config'",
    ),
    "an argument of another name": (
        "def plant(builder: Any) -> Any:\n    return builder.create_network(flag=1)\n",
        "takes no argument 'flag'",
    ),
    "an integer for an enumeration": (
        "def plant(config: Any) -> None:\n    config.set_flag(6)\n",
        "is given an integer for a BuilderFlag",
    ),
    "an integer for an enumeration in a property": (
        "def plant(config: Any) -> None:\n    config.profiling_verbosity = 2\n",
        "profiling_verbosity is set to an integer, not to a ProfilingVerbosity",
    ),
    "an enumeration compared with an integer": (
        "def plant(layer: Any) -> bool:\n    return layer.type == 3\n",
        "a LayerType is compared with an integer",
    ),
    "an enumeration made of an integer": (
        "def plant(api: Api) -> Any:\n    return api.trt.DataType(1)\n",
        "a DataType is made of an integer",
    ),
    "the integer of an enumeration": (
        "def plant(tensor: Any) -> int:\n    return tensor.dtype.value\n",
        "the integer of a DataType is taken",
    ),
    "a property that cannot be set": (
        "def plant(engine: Any) -> None:\n    engine.num_io_tensors = 1\n",
        "does not let ICudaEngine.num_io_tensors be set",
    ),
    "an object that nothing explains": (
        "def plant(thing: Any) -> int:\n    return thing.size\n",
        ".size is taken of something annotated Any, and nothing says what that is",
    ),
    "a name that nothing explains": (
        "def plant(config: Any, name: str) -> Any:\n    return getattr(config, name)\n",
        "getattr takes a name of IBuilderConfig that cannot be checked",
    ),
}

GUARDED = {
    "if": (
        'if hasattr(engine, "device_memory_size"):\n        return engine.device_memory_size\n'
        "    return 0"
    ),
    "early return": (
        'if not hasattr(engine, "device_memory_size"):\n        return 0\n'
        "    return engine.device_memory_size"
    ),
    "conditional": (
        'return engine.device_memory_size if hasattr(engine, "device_memory_size") else 0'
    ),
    "and": 'return hasattr(engine, "device_memory_size") and engine.device_memory_size',
    "or": 'return not hasattr(engine, "device_memory_size") or engine.device_memory_size',
    "name": (
        'has = hasattr(engine, "device_memory_size")\n'
        "    return engine.device_memory_size if has else 0"
    ),
    "getattr": 'return getattr(engine, "device_memory_size", 0)',
    "backend": 'return config.num_compute_capabilities if api.backend == "tensorrt-rtx" else 0',
    "function": "return size_of(engine) if can(engine) else 0",
}
CALLED = (
    'def can(engine: Any) -> bool:\n    return hasattr(engine, "device_memory_size")\n\n\n'
    "def size_of(engine: Any) -> int:\n    return engine.device_memory_size\n\n\n"
)


@pytest.fixture(scope="module")
def check_of() -> Checks:
    """A function that checks files against a version, whose wheel must be in the cache or index."""

    package = functools.cache(functools.partial(check.check_wheel, PACKAGE))

    def checked(paths: list[Path], wheel: Any) -> Any:
        try:
            return package(wheel) if paths is PACKAGE else check.check_wheel(paths, wheel)
        except wheels.OutOfReachError as error:
            if os.environ.get("CI"):
                pytest.fail(f"in CI every version must be looked at: {error}")
            pytest.skip(str(error))

    if shutil.which("gcc") is None and not os.environ.get("CI"):
        pytest.skip("needs gcc, for the stand-ins that the bindings load")
    return checked


@pytest.fixture
def planted(tmp_path: Path, check_of: Checks) -> Callable[[str, Any], tuple[str, ...]]:
    """A function that gives the problems of a piece of source under a version."""

    def problems(source: str, wheel: Any) -> tuple[str, ...]:
        path = tmp_path / "planted.py"
        path.write_text(PREFACE + source)
        found: tuple[str, ...] = check_of(
            [path, ENGINES / "runtimes" / "tensorrt" / "api.py"], wheel
        ).problems
        return found

    return problems


@pytest.mark.parametrize("wheel", [*check.TENSORRT, *check.DRIVER], ids=str)
def test_every_call_of_ours_exists_in_this_version(wheel: Any, check_of: Checks) -> None:
    assert check_of(PACKAGE, wheel).problems == ()


def test_every_function_of_ours_is_looked_at_under_some_version(check_of: Checks) -> None:
    unseen = [check_of(PACKAGE, wheel).unseen for wheel in check.TENSORRT]
    assert frozenset.intersection(*unseen) == frozenset()


def test_the_calls_are_found_where_they_are_made(check_of: Checks) -> None:
    uses = frozenset().union(*(check_of(PACKAGE, wheel).uses for wheel in check.TENSORRT))
    assert {
        *(
            "Builder.build_serialized_network",
            "NetworkDefinitionCreationFlag.STRONGLY_TYPED",
            "ParserError.node_name",
        ),
        *(
            "IOptimizationProfile.set_shape",
            "ILogger.Severity.name",
            "ITimingCache.serialize",
            "ILayer.get_output",
        ),
        *(
            "EngineInspector.get_engine_information",
            "IExecutionContext.execute_async_v3",
            "IRuntimeCache.deserialize",
        ),
        *(
            "IBuilderConfig.set_compute_capability",
            "HardwareCompatibilityLevel.AMPERE_PLUS",
            "ComputeCapability",
        ),
    } <= uses
    assert {"cuMemcpyHtoDAsync", "cuGraphLaunch", "CUresult.CUDA_SUCCESS"} <= check_of(
        PACKAGE, CUDA_13
    ).uses


@pytest.mark.parametrize("name", MISSING)
def test_a_call_that_a_version_lacks_is_reported_by_name(
    name: str, planted: Callable[..., tuple[str, ...]]
) -> None:
    source, wheel, wanted = MISSING[name]
    (problem,) = planted(source, wheel)
    assert f"{wheel} {wanted}" in problem
    assert problem.startswith("planted.py:")


@pytest.mark.parametrize("name", ["a removed property", "a removed flag"])
def test_a_call_is_not_reported_for_a_version_that_has_it(
    name: str, planted: Callable[..., tuple[str, ...]]
) -> None:
    assert planted(MISSING[name][0], TEN_3) == ()


@pytest.mark.parametrize("wheel", [TEN_3, ELEVEN_4, RTX[-1]], ids=str)
@pytest.mark.parametrize("name", GUARDED)
def test_a_call_behind_a_check_is_not_reported(
    name: str, wheel: Any, planted: Callable[..., tuple[str, ...]]
) -> None:
    functions = CALLED if name == "function" else ""
    source = (
        f"{functions}def plant(api: Api, config: Any, engine: Any) -> int:\n    {GUARDED[name]}\n"
    )
    assert planted(source, wheel) == ()


@pytest.mark.parametrize("wheel", [TEN_3, RTX[-1]], ids=str)
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_call_is_reported(
    name: str, wheel: Any, planted: Callable[..., tuple[str, ...]]
) -> None:
    source, wanted = WRONG[name]
    (problem,) = planted(source, wheel)
    assert wanted in problem


def test_a_driver_call_that_does_not_exist_is_reported(tmp_path: Path, check_of: Checks) -> None:
    path = tmp_path / "planted.py"
    path.write_text(
        "from cuda.bindings import driver\n\n\n"
        "def plant() -> None:\n    driver.cuMemAllocate(1)\n    driver.cuInit(1, 2)\n"
    )
    assert check_of([path], CUDA_12).problems == (
        "planted.py:5: cuda-bindings 12.8.0 has no cuMemAllocate",
        "planted.py:6: cuda-bindings 12.8.0: cuInit takes 1 arguments, not 2",
    )


def test_the_stand_ins_cannot_be_mistaken_for_tensorrt(tmp_path: Path) -> None:
    assert len(stubs.SYMBOLS) == 9
    stubs.compile_stubs(tmp_path, ("libnvinfer.so.10",))
    import ctypes

    library = ctypes.CDLL(str(tmp_path / "libnvinfer.so.10"))
    library.createInferBuilder_INTERNAL.restype = ctypes.c_void_p
    assert library.createInferBuilder_INTERNAL() is None


def test_no_engine_brings_code_and_every_network_is_strongly_typed() -> None:
    assert broken(rules.broken_rules, sorted(ENGINES.rglob("*.py"))) == {}


def test_only_the_build_and_the_tensorrt_runtime_touch_tensorrt() -> None:
    assert broken(rules.touches, OTHERS) == {}


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        (
            "def f(runtime):\n    runtime.engine_host_code_allowed = True\n",
            "engine_host_code_allowed: an engine must",
        ),
        (
            "def f(runtime):\n    setattr(runtime, 'engine_host_code_allowed', True)\n",
            "must never bring host code",
        ),
        (
            "def f(config):\n    config.plugins_to_serialize = ['a.so']\n",
            "must not carry plugin libraries",
        ),
        ("import pycuda.autoinit\n", "pycuda.autoinit is imported"),
        ("from pycuda import autoinit\n", "pycuda.autoinit is imported"),
        (
            "def f(importlib):\n    importlib.import_module('pycuda.autoinit')\n",
            "pycuda.autoinit is imported",
        ),
        (
            "def f(builder):\n    return builder.create_network()\n",
            "without NetworkDefinitionCreationFlag",
        ),
        (
            "def f(builder):\n    return builder.create_network(1)\n",
            "without NetworkDefinitionCreationFlag",
        ),
        (
            "def f(builder, trt):\n"
            "    flags = 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)\n"
            "    return builder.create_network(flags)\n",
            "without NetworkDefinitionCreationFlag",
        ),
    ],
)
def test_a_broken_rule_is_reported(tmp_path: Path, source: str, wanted: str) -> None:
    path = tmp_path / "planted.py"
    path.write_text(source)
    (problem,) = rules.broken_rules(path)
    assert wanted in problem


@pytest.mark.parametrize(
    "source",
    [
        "import tensorrt\n",
        "from tensorrt_rtx import Builder\n",
        "def f(api):\n    return api.trt.Builder\n",
    ],
)
def test_tensorrt_outside_its_package_is_reported(tmp_path: Path, source: str) -> None:
    path = tmp_path / "planted.py"
    path.write_text(source)
    assert len(rules.touches(path)) == 1

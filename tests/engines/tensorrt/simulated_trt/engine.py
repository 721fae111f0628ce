"""The simulated runtime, its engines and what contexts are made with."""

from __future__ import annotations

import contextlib
import json
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import onnxruntime

from .context import SCRATCH_BYTES, Context
from .names import (
    DTYPES,
    CudaGraphStrategy,
    DataType,
    EngineInvalidityDiagnostics,
    EngineValidity,
    ExecutionContextAllocationStrategy,
    Severity,
    TensorIOMode,
    TensorLocation,
)

BUDGET = 12_345
HEADER_BYTES = 64
_PROFILE = "simulated_profile"
_LEAN = "simulated_lean_version"
_LEAN_MAGIC = "simulated lean runtime "
_CACHE_MAGIC = b"simulated-kernels:"


def engine_from_onnx(
    model: bytes, shapes: dict[str, list[tuple[int, ...]]], *, version_compatible: str | None = None
) -> bytes:
    """The bytes of a simulated engine: the ONNX with its profile (least, best and largest shape of
    each input).

    One that is version-compatible names the version that built it, whose lean runtime it needs.
    """
    proto = onnx.load_from_string(model)
    onnx.helper.set_model_props(
        proto, {_PROFILE: json.dumps(shapes), _LEAN: version_compatible or ""}
    )
    return bytes(proto.SerializeToString())


def write_lean_library(path: Path, version: str) -> None:
    """A file that ``Runtime.load_runtime`` takes for the lean runtime of a version."""
    path.write_text(_LEAN_MAGIC + version)


class Runtime:
    lean_version = ""

    def __init__(self, simulation: Any, logger: Any) -> None:
        simulation.logger = logger
        simulation.born(self, "runtime", before=("lean runtime", "engine", "context"))
        self._simulation = simulation

    def load_runtime(self, path: str) -> LeanRuntime | None:
        text = Path(path).read_text()
        if self._simulation.fails("load_runtime") or not text.startswith(_LEAN_MAGIC):
            return None
        return LeanRuntime(self._simulation, text.removeprefix(_LEAN_MAGIC))

    def deserialize_cuda_engine(self, data: bytes) -> Engine | None:
        simulation = self._simulation
        if simulation.fails("deserialize_cuda_engine"):
            return None
        try:
            kind = ConfigurableEngine if simulation.has_config else Engine
            return kind(simulation, data, lean_version=self.lean_version)
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's exceptions have no base of their own
            simulation.say(Severity.ERROR, f"Error Code 3: Serialization assertion failed: {error}")
            return None


class LeanRuntime(Runtime):
    """What runs the version-compatible engines of one version, and nothing else."""

    def __init__(self, simulation: Any, version: str) -> None:
        simulation.born(self, "lean runtime", before=("engine", "context"))
        self._simulation = simulation
        self.lean_version = version


class RtxRuntime(Runtime):
    engine_header_size = HEADER_BYTES

    def get_engine_validity(self, header: bytes) -> tuple[EngineValidity, int]:
        if len(header) < HEADER_BYTES:
            return EngineValidity.INVALID, int(EngineInvalidityDiagnostics.MALFORMED_ENGINE)
        validity: tuple[EngineValidity, int] = self._simulation.validity
        return validity


class Engine:
    """Without ``create_runtime_config``, which TensorRT has from 10.12 on."""

    num_optimization_profiles = 1

    def __init__(self, simulation: Any, data: bytes, *, lean_version: str) -> None:
        self.simulation = simulation
        self._entered = threading.Lock()
        self.session = onnxruntime.InferenceSession(
            data, quiet(), providers=["CPUExecutionProvider"]
        )
        properties = self.session.get_modelmeta().custom_metadata_map
        if properties[_LEAN] != lean_version:
            raise ValueError(
                f"a plan for the lean runtime {properties[_LEAN]!r} in that of {lean_version!r}"
            )
        self.profile = json.loads(properties[_PROFILE])
        self.inputs = {node.name: node for node in self.session.get_inputs()}
        self.outputs = {node.name: node for node in self.session.get_outputs()}
        self.budget = 0
        simulation.born(self, "engine", before=("context",))

    @property
    def num_io_tensors(self) -> int:
        return len(self.inputs) + len(self.outputs)

    @property
    def device_memory_size_v2(self) -> int:
        return SCRATCH_BYTES

    @property
    def weight_streaming_budget_v2(self) -> int:
        return self.budget

    @weight_streaming_budget_v2.setter
    def weight_streaming_budget_v2(self, budget: int) -> None:
        if self.simulation.alive["context"]:
            self.simulation.mistakes.append("the budget is set while there are contexts")
        self.simulation.budgets.append(budget)
        self.budget = budget

    def get_weight_streaming_automatic_budget(self) -> int:
        return BUDGET

    def get_tensor_name(self, index: int) -> str:
        return str([*self.inputs, *self.outputs][index])

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

    def get_tensor_location(self, name: str) -> TensorLocation:
        return TensorLocation.DEVICE

    def get_tensor_dtype(self, name: str) -> DataType:
        node = (self.inputs | self.outputs)[name]
        dtype: DataType = self.simulation.tensor_dtypes.get(name, DTYPES[node.type])
        return dtype

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        node = (self.inputs | self.outputs)[name]
        return tuple(side if isinstance(side, int) else -1 for side in node.shape)

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
        assert profile == 0
        return [tuple(shape) for shape in self.profile[name]]

    def create_execution_context(
        self, how: Any = ExecutionContextAllocationStrategy.STATIC
    ) -> Context | None:
        if self.simulation.fails("create_execution_context"):
            return None
        with self._alone():
            self.simulation.while_a_context_is_made()
            return Context(self, how)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        alone = self._entered.acquire(blocking=False)
        if not alone:
            self.simulation.mistakes.append("two threads are in one engine")
        try:
            yield
        finally:
            if alone:
                self._entered.release()


class ConfigurableEngine(Engine):
    def create_runtime_config(self) -> RuntimeConfig:
        if not self.simulation.rtx:
            self.simulation.mistakes.append("a runtime configuration is made that nothing needs")
        kind = RtxRuntimeConfig if self.simulation.rtx else RuntimeConfig
        return kind(self.simulation)


class RuntimeConfig:
    def __init__(self, simulation: Any) -> None:
        self.simulation = simulation
        self.strategy = ExecutionContextAllocationStrategy.STATIC

    def set_execution_context_allocation_strategy(
        self, strategy: ExecutionContextAllocationStrategy
    ) -> None:
        self.strategy = strategy


class RtxRuntimeConfig(RuntimeConfig):
    def __init__(self, simulation: Any) -> None:
        super().__init__(simulation)
        self.cuda_graph_strategy = CudaGraphStrategy.DISABLED
        simulation.configs.append(weakref.ref(self))
        self.cache: RuntimeCache | None = None

    def create_runtime_cache(self) -> RuntimeCache:
        return RuntimeCache(self.simulation)

    def set_runtime_cache(self, cache: RuntimeCache) -> bool:
        self.cache = cache
        return True


class RuntimeCache:
    """Its "kernels" are the input shapes that were run."""

    def __init__(self, simulation: Any) -> None:
        self.simulation = simulation
        self.kernels: set[str] = set()

    def deserialize(self, blob: bytes) -> bool:
        self.simulation.check_context("a runtime cache is deserialised")
        if not bytes(blob).startswith(_CACHE_MAGIC):
            return False
        self.kernels = set(bytes(blob)[len(_CACHE_MAGIC) :].decode().split(";"))
        return True

    def serialize(self) -> bytearray:
        return bytearray(_CACHE_MAGIC + ";".join(sorted(self.kernels)).encode())


def quiet() -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return options

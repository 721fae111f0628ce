"""Which evidence proves an engine. The engine and its runtime are simulated; TensorRT's own need the GPU."""

from __future__ import annotations

import json
import types
from typing import Any

import pytest

from motivnet.artifact.manifest import EngineProof
from motivnet.errors import EngineError
from motivnet_engines.build import evidence
from motivnet_engines.runtimes.tensorrt.api import Api

NETWORK = EngineProof(
    evidence="network",
    layers=100,
    matrix_layers={"float16": 3},
    attention_layers=1,
    attention_fused=None,
    activation_bytes=None,
)
LAYERS = (
    "Layers:\nName: _gemm_mha_v2_myl0_8, LayerType: kgen, Inputs: [ { Name: a, Dimensions: [1,4,4], Datatype: Half}], "
    "Constants: [], Outputs: [], TacticName: _gemm_mha_v2_0x1, StreamId: 0, Metadata: [ONNX Layer: attention]\n"
)
INSPECTED = json.dumps(
    {
        "Layers": [
            {
                "Name": "dense",
                "LayerType": "gemm",
                "Inputs": [{"Dimensions": [4, 4], "Format/Datatype": "BF16"}],
            }
        ]
    }
)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    monkeypatch.setattr(evidence, "logger_of", lambda _: types.SimpleNamespace(lines=lines))
    return lines


class SimulatedInspector:
    """Names the layers of an engine with a free batch only once it has a context whose shapes are known."""

    execution_context: Any = None

    def get_engine_information(self, form: str) -> str:
        shapes = {} if self.execution_context is None else self.execution_context.shapes
        return {"json": INSPECTED}[form] if shapes == {"image": (4, 3, 128, 96)} else "{}"


class SimulatedContext:
    def __init__(self) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = shape
        return True


class SimulatedEngine:
    num_io_tensors = 2

    def create_engine_inspector(self) -> SimulatedInspector:
        return SimulatedInspector()

    def create_execution_context(self) -> SimulatedContext:
        return SimulatedContext()

    def get_tensor_name(self, index: int) -> str:
        return ("image", "logits")[index]

    def get_tensor_mode(self, name: str) -> str:
        return {"image": "input", "logits": "output"}[name]

    def get_tensor_profile_shape(self, name: str, profile: int) -> tuple[tuple[int, ...], ...]:
        return {("image", 0): ((1, 3, 128, 96), (4, 3, 128, 96), (8, 3, 128, 96))}[name, profile]


def simulated_api(backend: Any, engine: object) -> Api:
    runtime = types.SimpleNamespace(deserialize_cuda_engine=lambda _: engine)
    trt = types.SimpleNamespace(
        Runtime=lambda _: runtime,
        LayerInformationFormat=types.SimpleNamespace(JSON="json"),
        TensorIOMode=types.SimpleNamespace(INPUT="input", OUTPUT="output"),
    )
    return Api(backend=backend, trt=trt, version="10.16.1.11")


def test_an_engine_of_tensorrt_is_inspected_at_its_best_shape(log: list[tuple[str, str]]) -> None:
    log.extend([("VERBOSE", LAYERS), ("INFO", "Total Activation Memory: 42 bytes")])

    proof = evidence.engine_proof(
        simulated_api("tensorrt", SimulatedEngine()), b"engine", NETWORK, version_compatible=False
    )

    assert (proof.evidence, proof.matrix_layers, proof.activation_bytes) == (
        "inspector",
        {"bfloat16": 1},
        42,
    )


def test_an_engine_that_tensorrt_cannot_load_is_an_error_with_the_log(
    log: list[tuple[str, str]],
) -> None:
    log.append(("ERROR", "the plan is not valid"))

    with pytest.raises(EngineError, match="cannot load the engine that it built") as caught:
        evidence.engine_proof(
            simulated_api("tensorrt", None), b"engine", NETWORK, version_compatible=False
        )

    assert caught.value.log == ("the plan is not valid",)


def test_a_version_compatible_engine_that_does_not_load_here_is_proven_by_the_log(
    log: list[tuple[str, str]],
) -> None:
    log.append(("VERBOSE", LAYERS))

    proof = evidence.engine_proof(
        simulated_api("tensorrt", None), b"engine", NETWORK, version_compatible=True
    )

    assert (proof.evidence, proof.attention_fused) == ("compiler", 1)


def test_an_engine_of_tensorrt_rtx_is_never_loaded(log: list[tuple[str, str]]) -> None:
    log.append(("VERBOSE", LAYERS))
    api = Api(backend="tensorrt-rtx", trt=types.SimpleNamespace(), version="1.7.1.116")

    assert (
        evidence.engine_proof(api, b"engine", NETWORK, version_compatible=False).evidence
        == "compiler"
    )


def test_without_a_list_of_layers_the_network_and_the_memory_are_the_proof(
    log: list[tuple[str, str]],
) -> None:
    log.append(("INFO", "Total Activation Memory: 42 bytes"))
    api = Api(backend="tensorrt-rtx", trt=types.SimpleNamespace(), version="1.4.0.76")

    proof = evidence.engine_proof(api, b"engine", NETWORK, version_compatible=False)

    assert (proof.evidence, proof.matrix_layers, proof.activation_bytes) == (
        "network",
        {"float16": 3},
        42,
    )

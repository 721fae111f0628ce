"""What an engine contains, from which source, and which engines are refused."""

from __future__ import annotations

import json
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from motivnet.artifact.engine_entry import EngineReport
from motivnet.errors import EngineError
from motivnet_engines.build import engine_report
from motivnet_engines.build.engine_report import (
    activation_bytes_from_log,
    check_report,
    report_from_layers,
    report_from_network,
)
from motivnet_engines.build.layer_evidence import NetworkNodes
from motivnet_engines.build.layers import CompiledLayer, CompiledTensor
from motivnet_engines.runtimes.tensorrt import engine
from motivnet_engines.runtimes.tensorrt.api import Api, load_api
from motivnet_engines.runtimes.tensorrt.log import logger_of


def report(**changes: Any) -> EngineReport:
    values: dict[str, Any] = {
        "evidence": "compiler",
        "layers": 75,
        "matrix_layers": {"float16": 32},
        "attention_layers": 6,
        "attention_fused": 6,
        "activation_bytes": 9_427_968,
    }
    return EngineReport(**{**values, **changes})


def kernel(name: str, kind: str, *origins: str, dtype: str = "float16") -> CompiledLayer:
    inputs = (CompiledTensor(dtype=dtype, shape=(-1, 96)),)
    return CompiledLayer(
        name=name, kind=kind, tactic="", inputs=inputs, constants=(), origins=origins
    )


def quantised_product() -> onnx.ModelProto:
    """A product of two tensors between Q/DQ pairs, and one more in FP32 of its result."""
    names = {"scale": np.float32(0.1), "zero": np.int8(0), "w": np.ones((4, 4), np.float32)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "scale", "zero"], ["xd"]),
        helper.make_node("QuantizeLinear", ["w", "scale", "zero"], ["wq"]),
        helper.make_node("DequantizeLinear", ["wq", "scale", "zero"], ["wd"]),
        helper.make_node("MatMul", ["xd", "wd"], ["y"]),
        helper.make_node("MatMul", ["y", "w"], ["z"]),
    ]
    graph = helper.make_graph(
        nodes,
        "quantised",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (4, 4))],
        [helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, (4, 4))],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in names.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


NETWORK = report(evidence="network", layers=398, attention_fused=None, activation_bytes=None)


@pytest.fixture
def parsed_network(rtx_installed: None) -> Callable[[Path], Any]:
    """A function that gives the network that the real parser makes of a file."""
    api = load_api("tensorrt-rtx")
    alive = []

    def parsed(onnx: Path) -> Any:
        builder = api.trt.Builder(logger_of(api))
        network = builder.create_network(
            1 << int(api.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        )
        parser = api.trt.OnnxParser(network, logger_of(api))
        assert parser.parse_from_file(str(onnx))
        alive.extend((builder, parser))
        return network

    return parsed


@pytest.mark.parametrize("name", ["fp16", "fp16-decomposed", "bf16", "fp32", "uint8"])
def test_the_parsed_network_agrees_with_the_exported_graph(
    trt_graph: Any, parsed_network: Any, name: str
) -> None:
    graph = trt_graph(name)

    found = report_from_network(parsed_network(graph.onnx))

    assert found.matrix_layers == graph.manifest.graph.compute_nodes
    assert (found.evidence, found.attention_layers, found.attention_fused) == ("network", 6, None)


def test_a_product_between_quantised_tensors_counts_as_quantised(
    parsed_network: Any, tmp_path: Path
) -> None:
    onnx.save(quantised_product(), tmp_path / "model.onnx")

    found = report_from_network(parsed_network(tmp_path / "model.onnx"))

    assert found.matrix_layers == {"float32": 1, "int8": 1}


@pytest.mark.parametrize(("name", "fused"), [("fp16", 6), ("fp16-decomposed", 6), ("fp32", 0)])
def test_the_compiler_fuses_half_precision_in_either_form_and_fp32_never(
    rtx_engine: Any, name: str, fused: int
) -> None:
    found = rtx_engine(name).built.report

    assert (found.attention_layers, found.attention_fused) == (6, fused)


def test_a_real_fp32_engine_is_refused_where_fp16_was_asked(rtx_engine: Any) -> None:
    found = rtx_engine("fp32").built.report

    check_report(found, precision="fp32", attention="decomposed")
    with pytest.raises(EngineError, match="not fp16: its matrix products are 38 in float32"):
        check_report(found, precision="fp16", attention="decomposed")
    with pytest.raises(EngineError, match="0 of 6 became one kernel"):
        check_report(found, precision="fp32", attention="fused")


def test_kernels_that_came_of_the_same_nodes_are_one_attention() -> None:
    layers = [
        kernel("_gemm_mha_v2_1", "kgen", "attention"),
        kernel("_gemm_mha_v2_2", "kgen", "attention"),
        kernel("_gemm_mha_v2_3", "kgen", "attention_1", "softmax_1"),
        kernel("fc", "gemm", "matmul"),
        kernel("fc_2", "gemm", "matmul_2", dtype="float32"),
        kernel("__myl_Cast", "kgen"),
    ]

    found = report_from_layers(layers, network=NETWORK, evidence="inspector", activation_bytes=5)

    assert found == report(
        evidence="inspector",
        layers=6,
        matrix_layers={"float16": 4, "float32": 1},
        attention_layers=6,
        attention_fused=2,
        activation_bytes=5,
    )


def test_no_more_attentions_are_fused_than_there_are() -> None:
    layers = [kernel(f"_gemm_mha_v2_{index}", "kgen") for index in range(9)]

    assert (
        report_from_layers(
            layers, network=NETWORK, evidence="compiler", activation_bytes=None
        ).attention_fused
        == 6
    )


def test_the_memory_for_activations_is_the_last_that_the_builder_named() -> None:
    lines = [
        ("INFO", "Total Activation Memory: 7 bytes"),
        ("INFO", "Total Weights Memory: 9 bytes"),
    ]

    assert (
        activation_bytes_from_log([*lines, ("INFO", "Total Activation Memory: 1242240 bytes")])
        == 1_242_240
    )
    assert activation_bytes_from_log(lines[1:]) is None


@pytest.mark.parametrize(
    ("found", "precision", "attention"),
    [
        (report(), "fp16", "fused"),
        (report(matrix_layers={"bfloat16": 32}), "bf16", "fused"),
        (report(matrix_layers={"float32": 38}, attention_fused=0), "fp32", "decomposed"),
        (report(attention_fused=0), "fp16", "decomposed"),
        (report(attention_fused=4), "fp16", "fused"),
        (report(evidence="inspector", attention_fused=None), "fp16", "fused"),
        (report(matrix_layers={"float16": 31, "float32": 1}), "fp16", "fused"),
        (report(matrix_layers={"float16": 6, "int8": 26}), "int8", "fused"),
        (report(matrix_layers={"float16": 20, "unknown": 12}), "fp16", "fused"),
        (report(matrix_layers={"unknown": 32}), "fp16", "fused"),
        (NETWORK, "fp16", "fused"),
    ],
)
def test_an_engine_that_is_what_was_asked_passes(
    found: EngineReport, precision: Any, attention: Any
) -> None:
    check_report(found, precision=precision, attention=attention)


@pytest.mark.parametrize(
    ("found", "precision", "problem"),
    [
        (
            report(matrix_layers={"float32": 38}),
            "fp16",
            r"not fp16: its matrix products are 38 in float32 \(compiler\)",
        ),
        (
            report(matrix_layers={"float16": 15, "float32": 17}),
            "fp16",
            "15 in float16, 17 in float32",
        ),
        (
            report(evidence="network", matrix_layers={"float16": 31, "float32": 1}),
            "fp16",
            r"31 in float16, 1 in float32 \(network\)",
        ),
        (report(matrix_layers={"float16": 32}), "bf16", "not bf16"),
        (report(matrix_layers={"float16": 32}), "fp32", "not fp32"),
        (report(matrix_layers={"float16": 32}), "int8", "not int8"),
        (report(matrix_layers={}), "fp16", "products are none"),
    ],
)
def test_an_engine_in_another_precision_is_refused_with_the_counts(
    found: EngineReport, precision: Any, problem: str
) -> None:
    with pytest.raises(EngineError, match=problem):
        check_report(found, precision=precision, attention="decomposed")


def test_products_that_the_graph_itself_has_in_fp32_are_expected() -> None:
    found = report(
        evidence="network", attention_fused=None, matrix_layers={"float16": 31, "float32": 2}
    )

    check_report(found, precision="fp16", attention="fused", float32_layers=2)
    with pytest.raises(EngineError, match="2 in float32"):
        check_report(found, precision="fp16", attention="fused", float32_layers=1)


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (report(attention_fused=2), r"2 of 6 became one kernel \(compiler\)"),
        (report(attention_layers=0, attention_fused=0), "has none"),
    ],
)
def test_attentions_of_which_most_did_not_fuse_are_refused(
    found: EngineReport, problem: str
) -> None:
    with pytest.raises(EngineError, match=problem):
        check_report(found, precision="fp16", attention="fused")


def test_where_no_kernels_are_seen_the_memory_gives_an_unfused_attention_away() -> None:
    found = report(evidence="network", attention_fused=None, activation_bytes=980_000_000)

    check_report(found, precision="fp16", attention="fused", unfused_bytes=None)
    check_report(found, precision="fp16", attention="fused", unfused_bytes=980_000_001)
    with pytest.raises(
        EngineError, match=r"reserves 980,000,000 bytes .* the scores alone take 452,984,832"
    ):
        check_report(found, precision="fp16", attention="fused", unfused_bytes=452_984_832)


PARSED = EngineReport(
    evidence="network",
    layers=100,
    matrix_layers={"float16": 3},
    attention_layers=1,
    attention_fused=None,
    activation_bytes=None,
)
NODES = NetworkNodes(products={"dense": "bfloat16"}, attentions=frozenset({"attention"}))
LAYERS = (
    "Layers:\nName: _gemm_mha_v2_myl0_8, LayerType: kgen, Inputs: [ { Name: a, "
    "Dimensions: [1,4,4], Datatype: Half}], "
    "Constants: [], Outputs: [], TacticName: _gemm_mha_v2_0x1, StreamId: 0, "
    "Metadata: [ONNX Layer: attention]\n"
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
    logger = types.SimpleNamespace(lines=lines, said=0, since=lambda mark: lines[mark:])
    monkeypatch.setattr(engine_report, "logger_of", lambda _: logger)
    monkeypatch.setattr(engine, "logger_of", lambda _: logger)
    return lines


class SimulatedInspector:
    """Names the layers of an engine with a free batch only if its context knows the shapes."""

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

    def create_execution_context(self, strategy: str = "static") -> SimulatedContext:
        assert strategy == "user managed", "it would allocate the activations, and runs nothing"
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
        ExecutionContextAllocationStrategy=types.SimpleNamespace(USER_MANAGED="user managed"),
        LayerInformationFormat=types.SimpleNamespace(JSON="json"),
        TensorIOMode=types.SimpleNamespace(INPUT="input", OUTPUT="output"),
    )
    return Api(backend=backend, trt=trt, version="10.16.1.11")


def test_an_engine_of_tensorrt_is_inspected_at_its_best_shape(log: list[tuple[str, str]]) -> None:
    log.extend([("VERBOSE", LAYERS), ("INFO", "Total Activation Memory: 42 bytes")])

    found, _ = engine_report.report_from_engine(
        simulated_api("tensorrt", SimulatedEngine()),
        b"engine",
        PARSED,
        NODES,
        precision="bf16",
        version_compatible=False,
    )

    assert (found.evidence, found.matrix_layers, found.activation_bytes) == (
        "inspector",
        {"bfloat16": 1},
        42,
    )


def test_an_engine_that_tensorrt_cannot_load_is_an_error_with_the_log(
    log: list[tuple[str, str]],
) -> None:
    log.append(("ERROR", "the plan is not valid"))

    with pytest.raises(EngineError, match="cannot load the engine that it built") as caught:
        engine_report.report_from_engine(
            simulated_api("tensorrt", None),
            b"engine",
            PARSED,
            NODES,
            precision="fp16",
            version_compatible=False,
        )

    assert caught.value.log == ("the plan is not valid",)


def test_a_version_compatible_engine_that_does_not_load_here_is_reported_by_the_log(
    log: list[tuple[str, str]],
) -> None:
    log.append(("VERBOSE", LAYERS))

    found, doubts = engine_report.report_from_engine(
        simulated_api("tensorrt", None),
        b"engine",
        PARSED,
        NODES,
        precision="fp16",
        version_compatible=True,
    )

    assert (found.evidence, found.attention_fused, doubts) == ("compiler", 1, ())


def test_an_engine_of_tensorrt_rtx_is_never_loaded(log: list[tuple[str, str]]) -> None:
    log.append(("VERBOSE", LAYERS))
    api = Api(backend="tensorrt-rtx", trt=types.SimpleNamespace(), version="1.7.1.116")

    found, _ = engine_report.report_from_engine(
        api, b"engine", PARSED, NODES, precision="fp16", version_compatible=False
    )

    assert found.evidence == "compiler"


def test_without_a_list_of_layers_the_network_and_the_memory_are_the_report(
    log: list[tuple[str, str]],
) -> None:
    log.append(("INFO", "Total Activation Memory: 42 bytes"))
    api = Api(backend="tensorrt-rtx", trt=types.SimpleNamespace(), version="1.4.0.76")

    found, _ = engine_report.report_from_engine(
        api, b"engine", PARSED, NODES, precision="fp16", version_compatible=False
    )

    assert (found.evidence, found.matrix_layers, found.activation_bytes) == (
        "network",
        {"float16": 3},
        42,
    )

"""What an engine is made of, and what is refused: another precision than asked, and an attention that is not fused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from motivnet.artifact.manifest import EngineProof
from motivnet.errors import EngineError
from motivnet_engines.build.layers import CompiledLayer, CompiledTensor
from motivnet_engines.build.proof import (
    activation_bytes_from_log,
    check_proof,
    network_proof,
    proof_from_layers,
)
from motivnet_engines.runtimes.tensorrt.api import load_api
from motivnet_engines.runtimes.tensorrt.log import logger_of


def proof(**changes: Any) -> EngineProof:
    values: dict[str, Any] = {
        "evidence": "compiler",
        "layers": 75,
        "matrix_layers": {"float16": 32},
        "attention_layers": 6,
        "attention_fused": 6,
        "activation_bytes": 9_427_968,
    }
    return EngineProof(**{**values, **changes})


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


NETWORK = proof(evidence="network", layers=398, attention_fused=None, activation_bytes=None)


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

    found = network_proof(parsed_network(graph.onnx))

    assert found.matrix_layers == graph.manifest.graph.compute_nodes
    assert (found.evidence, found.attention_layers, found.attention_fused) == ("network", 6, None)


def test_a_product_between_quantised_tensors_counts_as_quantised(
    parsed_network: Any, tmp_path: Path
) -> None:
    onnx.save(quantised_product(), tmp_path / "model.onnx")

    found = network_proof(parsed_network(tmp_path / "model.onnx"))

    assert found.matrix_layers == {"float32": 1, "int8": 1}


@pytest.mark.parametrize(("name", "fused"), [("fp16", 6), ("fp16-decomposed", 6), ("fp32", 0)])
def test_the_compiler_fuses_half_precision_in_either_form_and_fp32_never(
    rtx_engine: Any, name: str, fused: int
) -> None:
    found = rtx_engine(name).built.proof

    assert (found.attention_layers, found.attention_fused) == (6, fused)


def test_a_real_fp32_engine_is_refused_where_fp16_was_asked(rtx_engine: Any) -> None:
    found = rtx_engine("fp32").built.proof

    check_proof(found, precision="fp32", attention="decomposed")
    with pytest.raises(EngineError, match="not fp16: its matrix products are 38 in float32"):
        check_proof(found, precision="fp16", attention="decomposed")
    with pytest.raises(EngineError, match="0 of 6 became one kernel"):
        check_proof(found, precision="fp32", attention="fused")


def test_kernels_that_came_of_the_same_nodes_are_one_attention() -> None:
    layers = [
        kernel("_gemm_mha_v2_1", "kgen", "attention"),
        kernel("_gemm_mha_v2_2", "kgen", "attention"),
        kernel("_gemm_mha_v2_3", "kgen", "attention_1", "softmax_1"),
        kernel("fc", "gemm", "matmul"),
        kernel("fc_2", "gemm", "matmul_2", dtype="float32"),
        kernel("__myl_Cast", "kgen"),
    ]

    found = proof_from_layers(layers, network=NETWORK, evidence="inspector", activation_bytes=5)

    assert found == proof(
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
        proof_from_layers(
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
        (proof(), "fp16", "fused"),
        (proof(matrix_layers={"bfloat16": 32}), "bf16", "fused"),
        (proof(matrix_layers={"float32": 38}, attention_fused=0), "fp32", "decomposed"),
        (proof(attention_fused=0), "fp16", "decomposed"),
        (proof(matrix_layers={"float16": 6, "int8": 26}), "int8", "fused"),
        (proof(matrix_layers={"float16": 20, "unknown": 12}), "fp16", "fused"),
        (proof(matrix_layers={"unknown": 32}), "fp16", "fused"),
        (NETWORK, "fp16", "fused"),
    ],
)
def test_an_engine_that_is_what_was_asked_passes(
    found: EngineProof, precision: Any, attention: Any
) -> None:
    check_proof(found, precision=precision, attention=attention)


@pytest.mark.parametrize(
    ("found", "precision", "problem"),
    [
        (
            proof(matrix_layers={"float32": 38}),
            "fp16",
            r"not fp16: its matrix products are 38 in float32 \(compiler\)",
        ),
        (proof(matrix_layers={"float16": 31, "float32": 1}), "fp16", "31 in float16, 1 in float32"),
        (proof(matrix_layers={"float16": 32}), "bf16", "not bf16"),
        (proof(matrix_layers={"float16": 32}), "fp32", "not fp32"),
        (proof(matrix_layers={"float16": 32}), "int8", "not int8"),
        (proof(matrix_layers={}), "fp16", "products are none"),
    ],
)
def test_an_engine_in_another_precision_is_refused_with_the_counts(
    found: EngineProof, precision: Any, problem: str
) -> None:
    with pytest.raises(EngineError, match=problem):
        check_proof(found, precision=precision, attention="decomposed")


def test_products_that_the_graph_itself_has_in_fp32_are_expected() -> None:
    found = proof(matrix_layers={"float16": 31, "float32": 2})

    check_proof(found, precision="fp16", attention="fused", float32_layers=2)
    with pytest.raises(EngineError, match="2 in float32"):
        check_proof(found, precision="fp16", attention="fused", float32_layers=1)


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (proof(attention_fused=5), r"5 of 6 became one kernel \(compiler\)"),
        (proof(attention_layers=0, attention_fused=0), "has none"),
    ],
)
def test_an_attention_that_did_not_fuse_is_refused(found: EngineProof, problem: str) -> None:
    with pytest.raises(EngineError, match=problem):
        check_proof(found, precision="fp16", attention="fused")


def test_where_no_kernels_are_seen_the_memory_gives_an_unfused_attention_away() -> None:
    found = proof(evidence="network", attention_fused=None, activation_bytes=980_000_000)

    check_proof(found, precision="fp16", attention="fused", unfused_bytes=None)
    check_proof(found, precision="fp16", attention="fused", unfused_bytes=980_000_001)
    with pytest.raises(
        EngineError, match=r"reserves 980,000,000 bytes .* scores alone take 452,984,832"
    ):
        check_proof(found, precision="fp16", attention="fused", unfused_bytes=452_984_832)

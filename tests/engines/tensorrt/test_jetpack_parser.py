"""What a graph for JetPack 6 contains, held against what TensorRT's parser documents.

The parser of 10.3 cannot be had without a GPU. The table is of the operators that the exports use,
with the dtypes that onnx-tensorrt lists for them both in 9.2 and in 10.15 (docs/operators.md), so
that 10.3 between them has them too; ``Gelu`` came with opset 20 in 10.0. It shows that nothing is
asked for that is not documented, and not that an engine is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest

from motivnet.config import ModelConfig
from motivnet.model import build_model

FLOATS = {"FLOAT", "BFLOAT16", "FLOAT16"}
INTEGERS = {"INT32", "INT64"}
PARSED = {
    "Cast": FLOATS | INTEGERS | {"UINT8", "BOOL"},
    **dict.fromkeys(
        ("Add", "Concat", "Expand", "Mul", "ReduceMean", "ReduceSum", "Relu", "Reshape"),
        FLOATS | INTEGERS,
    ),
    **dict.fromkeys(("Pad", "Shape", "Split", "Sub", "Transpose", "Unsqueeze"), FLOATS | INTEGERS),
    **dict.fromkeys(
        ("Conv", "Floor", "Gelu", "LayerNormalization", "MatMul", "Resize", "Softmax"), FLOATS
    ),
}
"""The dtypes of the first input."""

MUST_BE_CONSTANT = {"ReduceMean": 1, "ReduceSum": 1, "Unsqueeze": 1}
"""The input that has to be an initialiser."""

CONV_IN_BF16, DOCUMENTED = 22, 20
"""The first opset whose ``Conv`` takes BF16, and the newest that 10.0 documents.

A newer one is not refused: the parser reads each operator by its name.
"""


def undocumented(graph: ir.Model) -> Iterator[str]:
    """What the parser does not document: an operator, a dtype of one, an input that is computed."""
    for node in graph.graph.all_nodes():
        first = node.inputs[0]
        dtype = None if first is None or first.dtype is None else first.dtype.name
        if node.domain or dtype not in PARSED.get(node.op_type, set()):
            yield f"{node.domain}{node.op_type} of {dtype}"
        index = MUST_BE_CONSTANT.get(node.op_type)
        if index is not None and node.inputs[index] not in graph.graph.initializers.values():
            yield f"{node.op_type} with computed axes"


@pytest.mark.parametrize(
    "name",
    [
        "fp32",
        "fp32-uint8",
        "fp32-image",
        "bf16-decomposed",
        "bf16-decomposed-uint8",
        "bf16-decomposed-image",
        "bf16-decomposed-image-square",
    ],
)
def test_a_graph_for_jetpack_6_has_only_what_its_parser_documents(
    name: str, trt_graph: Any
) -> None:
    graph = ir.load(trt_graph(name).onnx)

    assert not set(undocumented(graph))
    assert graph.opset_imports == {"": CONV_IN_BF16 if name.startswith("bf16") else DOCUMENTED}


def test_what_is_not_documented_is_named(trt_graph: Any) -> None:
    assert "Attention of FLOAT16" in set(undocumented(ir.load(trt_graph("fp16").onnx)))


def test_norms_and_the_residual_stream_of_a_graph_in_bf16_are_fp32(trt_graph: Any) -> None:
    """``LayerNormalization`` states its own dtype, which a strongly typed network must not have to
    change."""
    nodes = list(ir.load(trt_graph("bf16-decomposed").onnx).graph)

    norms = [node for node in nodes if node.op_type == "LayerNormalization"]
    assert norms
    assert {value.dtype.name for node in norms for value in node.inputs} == {"FLOAT"}
    assert {node.attributes["stash_type"].as_int() for node in norms} == {1}


@pytest.mark.slow
@pytest.mark.parametrize("size", ["sapiens-0.3b", "sapiens-1b"])
def test_the_published_sizes_have_no_other_operators(
    size: str, graph_of_model: Any, two_blocks: Any
) -> None:
    config: ModelConfig = two_blocks(size)
    path: Path = graph_of_model(build_model(config, seed=1), config, "bf16-decomposed-image").onnx

    assert not set(undocumented(ir.load(path)))

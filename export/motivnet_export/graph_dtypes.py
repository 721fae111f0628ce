"""In which dtype the nodes of a graph multiply matrices; between Q/DQ pairs that is not the dtype of their inputs."""

from __future__ import annotations

from collections import Counter

import onnx_ir as ir

_PRODUCTS = ("MatMul", "Gemm", "Conv", "Attention")
_ZERO_POINT = 2


def product_dtypes(model: ir.Model) -> Counter[str]:
    """Counts of the nodes that multiply matrices, by the dtype of what they multiply: ``float16``,
    ``int8``...

    A node whose operands were both just dequantised counts as what they were: a compiler multiplies
    those, and scales the result.
    """
    return Counter(
        _product_dtype(node) for node in model.graph.all_nodes() if node.op_type in _PRODUCTS
    )


def dtype_name(value: ir.Value | None) -> str:
    """The name of a value's dtype as NumPy and PyTorch write it, ``unknown`` where the graph does not say."""
    if value is None or value.dtype is None:
        return "unknown"
    return "float32" if value.dtype == ir.DataType.FLOAT else value.dtype.name.lower()


def _product_dtype(node: ir.Node) -> str:
    quantised = {_dtype_before_dequantisation(operand) for operand in node.inputs[:2]}
    narrow = quantised.pop() if len(quantised) == 1 else None
    return narrow or dtype_name(node.inputs[0])


def _dtype_before_dequantisation(value: ir.Value | None) -> str | None:
    """The dtype that a value had before it was dequantised, None where it was not."""
    node = value.producer() if value is not None else None
    if node is None or node.op_type != "DequantizeLinear":
        return None
    # The zero point is an initialiser of the same dtype; what lies between a Q/DQ pair often has
    # none in the graph.
    return dtype_name(
        node.inputs[_ZERO_POINT] if len(node.inputs) > _ZERO_POINT else node.inputs[0]
    )

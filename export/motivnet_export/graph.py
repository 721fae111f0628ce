"""An ONNX graph on disk: saved, checked, and counted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx
import onnx_ir as ir

from motivnet.artifact.manifest import GraphSummary
from motivnet.errors import ExportError, FileError

EXTERNAL_DATA_THRESHOLD = 2_000_000_000
"""Bytes of weights above which they go into a separate file; a protobuf message ends at 2 GiB."""

PRODUCTS = ("MatMul", "Gemm", "Conv", "Attention")
"""The operators that multiply matrices."""

_ZERO_POINT = 2


def save_onnx(model: ir.Model, path: Path) -> tuple[Path, ...]:
    """Write a graph to ``path``, weights above 2 GB beside it; return the files written.

    Raises:
        FileError: If the weights cannot be written as a whole.
    """
    if weight_bytes(model) <= EXTERNAL_DATA_THRESHOLD:
        ir.save(model, path)
        return (path,)
    data = path.with_name(f"{path.name}.data")
    try:
        ir.save(
            model, path, external_data=data.name, size_threshold_bytes=_bytes_kept_inside(model)
        )
    except OSError as error:
        if error.errno is not None:
            raise
        # NumPy's error of a full disk: how many values it wrote, and no number of the system's.
        raise FileError(f"{data} was not written: {error}; make room for it") from error
    if data.stat().st_size < (size := _end_of_external_data(path)):
        raise FileError(f"{data} was not written as a whole; make room for its {size:,} bytes")
    return path, data


def _bytes_kept_inside(model: ir.Model) -> int:
    """Return the size below which a tensor stays in the graph: every integer one is checked."""
    tensors = (value.const_value for value in model.graph.initializers.values())
    sizes = [each.nbytes for each in tensors if each and each.dtype == ir.DataType.INT64]
    return max(256, *(size + 1 for size in sizes))


def _end_of_external_data(path: Path) -> int:
    tensors = (value.const_value for value in ir.load(path).graph.initializers.values())
    external = (tensor for tensor in tensors if isinstance(tensor, ir.ExternalTensor))
    return max(((tensor.offset or 0) + (tensor.length or 0) for tensor in external), default=0)


def check_onnx(path: Path) -> None:
    """Check a file with ONNX's own checker, shapes and types included.

    Raises:
        ExportError: With the checker's first line.
    """
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(
            f"the exported graph is not valid ONNX: {str(error).splitlines()[0]}"
        ) from error


def summarise(model: ir.Model) -> GraphSummary:
    """Return the counts that show a graph's precision and form of attention."""
    return GraphSummary(
        opset=model.graph.opset_imports[""],
        nodes=sum(1 for _ in model.graph.all_nodes()),
        attention_nodes=sum(node.op_type == "Attention" for node in model.graph.all_nodes()),
        compute_nodes=dict(sorted(product_dtypes(model).items())),
        weight_bytes=dict(sorted(_weight_bytes_by_dtype(model).items())),
    )


def weight_bytes(model: ir.Model) -> int:
    """Return the bytes of all initialisers."""
    return sum(_weight_bytes_by_dtype(model).values())


def product_dtypes(model: ir.Model) -> Counter[str]:
    """Count the nodes that multiply matrices by the dtype that they multiply in.

    If both operands of a node were just dequantised, that is the dtype before dequantisation: a
    compiler multiplies in that dtype, and scales the result. Activations in uint8 and weights in
    int8 count as int8.
    """
    counts: Counter[str] = Counter()
    for node in model.graph.all_nodes():
        if node.op_type in PRODUCTS:
            quantised = {_dtype_before_dequantisation(operand) for operand in node.inputs[:2]}
            if quantised == {"uint8", "int8"}:
                quantised = {"int8"}
            common = quantised.pop() if len(quantised) == 1 else None
            counts[common or _dtype_name(node.inputs[0])] += 1
    return counts


def _dtype_before_dequantisation(value: ir.Value | None) -> str | None:
    node = value.producer() if value is not None else None
    if node is None or node.op_type != "DequantizeLinear":
        return None
    # The zero point is an initialiser of the same dtype; a value between a Q/DQ pair often has no
    # dtype in the graph.
    return _dtype_name(
        node.inputs[_ZERO_POINT] if len(node.inputs) > _ZERO_POINT else node.inputs[0]
    )


def _dtype_name(value: ir.Value | None) -> str:
    """Return a dtype's name as in NumPy and PyTorch, ``unknown`` if the graph does not say it."""
    if value is None or value.dtype is None:
        return "unknown"
    return "float32" if value.dtype == ir.DataType.FLOAT else value.dtype.name.lower()


def _weight_bytes_by_dtype(model: ir.Model) -> Counter[str]:
    sizes: Counter[str] = Counter()
    for value in model.graph.initializers.values():
        if value.const_value is not None:
            sizes[_dtype_name(value)] += value.const_value.nbytes
    return sizes

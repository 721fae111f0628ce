"""How scaled dot-product attention is written into the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from onnxscript import opset20

from motivnet.artifact.manifest import AttentionForm

_op: Any = opset20  # its operators are typed for ONNX Script functions, not for tracing


def decomposed_attention(
    query: Any, key: Any, value: Any, *, scale: float, **_unused: object
) -> Any:
    """Two matrix products with a softmax between them, of ``(B, heads, N, dim)``.

    TensorRT fuses this pattern only where the query (or key) is scaled before the first product,
    and the exporter's own translation computes shapes at run time that are known here.
    """
    scaled = _op.Mul(query, _op.CastLike(_op.Constant(value_float=scale), query))
    scores = _op.MatMul(scaled, _op.Transpose(key, perm=[0, 1, 3, 2]))
    return _op.MatMul(_op.Softmax(scores, axis=-1), value)


TRANSLATIONS: dict[AttentionForm, dict[Callable[..., Any], Callable[..., Any]] | None] = {
    "fused": None,  # the exporter's own: the Attention operator of opset 23
    "decomposed": {torch.ops.aten.scaled_dot_product_attention.default: decomposed_attention},
}

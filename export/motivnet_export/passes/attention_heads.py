"""Attention on tokens instead of on heads."""

from __future__ import annotations

import onnx_ir as ir

_HEADS_FIRST = (0, 2, 1, 3)


class JoinAttentionHeadsPass(ir.passes.InPlacePass):
    """Let the ``Attention`` operator split and join the heads itself.

    Rule: where query, key and value are each ``Transpose[0,2,1,3](Reshape(x))`` of tokens ``(B, N,
    D)``, and the result only goes through ``Reshape(Transpose[0,2,1,3](y))`` back to tokens, the
    node takes and gives tokens, with ``q_num_heads`` and ``kv_num_heads`` as attributes (ONNX
    operator Attention-23, 3D form). This removes eight nodes per attention, and transposed copies
    in backends that have a kernel for packed heads.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every attention that fits the rule."""
        modified = False
        for node in list(model.graph):
            if node.op_type == "Attention" and len(node.outputs) == 1:
                modified |= _join_heads(node)
        return ir.passes.PassResult(model, modified)


def _join_heads(node: ir.Node) -> bool:
    tokens = [_tokens_before_split(value) for value in node.inputs[:3]]
    joined = _tokens_after_join(node.outputs[0])
    heads = [_static_dim(value, 1) for value in node.inputs[:2]]
    if joined is None or None in tokens or None in heads:
        return False
    for index, value in enumerate(tokens):
        node.replace_input_with(index, value)
    node.attributes["q_num_heads"] = ir.AttrInt64("q_num_heads", heads[0] or 0)
    node.attributes["kv_num_heads"] = ir.AttrInt64("kv_num_heads", heads[1] or 0)
    output = node.outputs[0]
    output.shape, output.type = joined.shape, joined.type
    ir.convenience.replace_all_uses_with(joined, output)
    return True


def _tokens_before_split(value: ir.Value | None) -> ir.Value | None:
    """Return the tokens ``(B, N, D)`` whose heads were split into ``value``, if they were."""
    transpose = value.producer() if value is not None else None
    if transpose is None or not _is_heads_transpose(transpose):
        return None
    reshaped = transpose.inputs[0]
    reshape = reshaped.producer() if reshaped is not None else None
    if reshape is None or reshape.op_type != "Reshape":
        return None
    tokens = reshape.inputs[0]
    return tokens if _is_tokens(tokens) else None


def _tokens_after_join(value: ir.Value) -> ir.Value | None:
    """Return the tokens ``(B, N, D)`` that the heads in ``value`` are only joined to, if any."""
    transpose = _only_consumer(value)
    if transpose is None or not _is_heads_transpose(transpose):
        return None
    reshape = _only_consumer(transpose.outputs[0])
    if reshape is None or reshape.op_type != "Reshape":
        return None
    joined = reshape.outputs[0]
    return joined if _is_tokens(joined) else None


def _is_tokens(value: ir.Value | None) -> bool:
    return value is not None and value.shape is not None and value.shape.rank() == 3


def _only_consumer(value: ir.Value) -> ir.Node | None:
    consumers = list(value.consumers())
    return consumers[0] if len(consumers) == 1 and not value.is_graph_output() else None


def _is_heads_transpose(node: ir.Node) -> bool:
    perm = node.attributes.get("perm")
    return (
        node.op_type == "Transpose" and perm is not None and tuple(perm.as_ints()) == _HEADS_FIRST
    )


def _static_dim(value: ir.Value | None, axis: int) -> int | None:
    dim = value.shape[axis] if value is not None and value.shape is not None else None
    return dim if isinstance(dim, int) else None

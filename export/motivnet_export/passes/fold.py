"""Constant folding: what does not depend on the input is computed once, at export."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

_SUBGRAPHS = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


class FoldConstantsPass(ir.passes.InPlacePass):
    """Replace nodes whose inputs are all initialisers by their value.

    Rule: a node with at least one input, one used output and no subgraph, whose inputs are
    initialisers (or absent), is evaluated by ONNX's reference implementation; its output becomes an
    initialiser. In a MotivNet this is the first norm and the query projection of the head, whose
    queries are fixed (Ridnik et al. 2021, section 3.3). The exporter's own folding leaves
    ``LayerNormalization`` alone because it has optional outputs.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Fold in topological order, so that a chain of constants folds in one call."""
        graph = model.graph
        modified = False
        for node in list(graph):
            if not _is_foldable(node):
                continue
            value = _evaluate(node, graph.opset_imports.get("", 0))
            name = f"{node.outputs[0].name}_folded"
            folded = ir.Value(name=name, const_value=ir.Tensor(value, name=name))
            folded.shape, folded.dtype = ir.Shape(value.shape), folded.const_value.dtype  # type: ignore[union-attr]
            graph.register_initializer(folded)
            ir.convenience.replace_all_uses_with(node.outputs[0], folded)
            graph.remove(node, safe=True)
            modified = True
        return ir.passes.PassResult(model, modified)


def _is_foldable(node: ir.Node) -> bool:
    inputs = [value for value in node.inputs if value is not None]
    used = [output for output in node.outputs if output.uses() or output.is_graph_output()]
    if node.domain or used != [node.outputs[0]] or used[0].is_graph_output():
        return False
    if any(attribute.type in _SUBGRAPHS for attribute in node.attributes.values()):
        return False
    return bool(inputs) and all(value.is_initializer() for value in inputs)


def _evaluate(node: ir.Node, opset: int) -> NDArray[Any]:
    feeds = {
        str(v.name): v.const_value.numpy()
        for v in node.inputs
        if v is not None and v.const_value is not None
    }
    proto = ir.serde.serialize_node(node)
    del proto.output[1:]  # optional and unused
    graph = onnx.helper.make_graph(
        [proto],
        "fold",
        [
            onnx.helper.make_tensor_value_info(
                name, int(ir.DataType.from_numpy(array.dtype)), array.shape
            )
            for name, array in feeds.items()
        ],
        [onnx.helper.make_empty_tensor_value_info(str(node.outputs[0].name))],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    return np.asarray(next(iter(ReferenceEvaluator(model).run(None, feeds))))

"""The batch size of pixels, read where every TensorRT reads it."""

from __future__ import annotations

import onnx_ir as ir


class ReadShapeOfFloatsPass(ir.passes.InPlacePass):
    """Let ``Shape`` read the floats that bytes are cast to, not the bytes.

    Rule: a ``Shape`` of a graph input in UINT8 takes the output of that input's ``Cast``. The
    parser of TensorRT documents bytes for ``Cast`` alone (onnx-tensorrt, docs/operators.md of 9.2
    and of 10.15).
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every such node, and put the graph in order again."""
        modified = False
        for pixels in model.graph.inputs:
            if pixels.dtype == ir.DataType.UINT8:
                modified |= _read_floats(pixels)
        if modified:
            model.graph.sort()
        return ir.passes.PassResult(model, modified)


def _read_floats(pixels: ir.Value) -> bool:
    readers = list(pixels.consumers())
    cast = next((node for node in readers if node.op_type == "Cast"), None)
    shapes = [node for node in readers if node.op_type == "Shape"]
    if cast is None:
        return False
    for node in shapes:
        node.replace_input_with(0, cast.outputs[0])
    return bool(shapes)

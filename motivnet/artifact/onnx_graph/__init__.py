"""Check an ONNX graph before any parser sees it, and add to it, without onnx on a device."""

from motivnet.artifact.onnx_graph.check import check_model
from motivnet.artifact.onnx_graph.rewriting import with_attribute

__all__ = ["check_model", "with_attribute"]

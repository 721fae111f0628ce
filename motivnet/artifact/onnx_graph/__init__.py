"""Check an ONNX graph before any parser sees it, without onnx, which devices do not have."""

from motivnet.artifact.onnx_graph.check import check_model

__all__ = ["check_model"]

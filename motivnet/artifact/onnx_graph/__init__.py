"""What an ONNX graph may hold before any parser sees it, checked without onnx: devices do not have it."""

from motivnet.artifact.onnx_graph.check import check_model

__all__ = ["check_model"]

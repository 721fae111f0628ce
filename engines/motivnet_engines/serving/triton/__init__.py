"""An artifact as a model repository for NVIDIA Triton."""

from motivnet_engines.serving.triton.export import export_triton
from motivnet_engines.serving.triton.options import TritonOptions

__all__ = ["TritonOptions", "export_triton"]

"""An artifact as a model repository for NVIDIA Triton."""

from motivnet_engines.serving.triton.configuration import TritonOptions
from motivnet_engines.serving.triton.export import export_triton

__all__ = ["TritonOptions", "export_triton"]

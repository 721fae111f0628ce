"""The precision of an artifact, written into the PyTorch modules before the export.

TensorRT 11 has no precision flags: a network is as precise as its ONNX graph says. FP16 and BF16
here mean linear layers, convolutions and attention in that type, with the residual stream and every
LayerNorm in FP32. An outlier in the stream then cannot overflow, at no extra node compared with an
FP32 LayerNorm alone.
"""

from __future__ import annotations

import torch
from torch import nn

from motivnet.artifact.manifest import Precision

TORCH_DTYPES: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "int8": torch.float16,
    "fp8": torch.float16,
}
"""What the modules compute in; in INT8 and FP8 that is what the quantisation of the exported graph starts from."""

COMPUTE_NAMES: dict[Precision, str] = {
    name: str(dtype).split(".")[-1] for name, dtype in TORCH_DTYPES.items()
}

HALF_RANGE: tuple[Precision, ...] = ("fp16", "int8", "fp8")
"""Precisions whose activations are limited to the range of FP16."""

LADDER: dict[Precision, tuple[Precision, ...]] = {
    "fp16": ("fp16", "bf16", "fp32"),
    "bf16": ("bf16", "fp32"),
    "fp32": ("fp32",),
    "int8": ("int8", "fp16", "bf16", "fp32"),
    "fp8": ("fp8", "fp16", "bf16", "fp32"),
}
"""What is tried, in order, when a precision is asked for."""


def apply_precision(model: nn.Module, precision: Precision) -> None:
    """Converts the weights of linear layers and convolutions in place; the network computes in their type."""
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            module.to(TORCH_DTYPES[precision])

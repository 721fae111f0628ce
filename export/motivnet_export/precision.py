"""The precision of an artifact, written into the PyTorch modules, and whether activations fit it.

FP16 and BF16 mean linear layers, convolutions and attention in that type, with the residual stream
and every LayerNorm in FP32: an outlier in the stream then cannot overflow.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from motivnet.model import MotivNet
from motivnet.model.ml_decoder import CrossAttention
from motivnet.model.sapiens import SelfAttention
from motivnet.parity import BlockActivation, Precision

TORCH_DTYPES: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "int8": torch.float16,
    "fp8": torch.float16,
}
"""The dtype that the modules compute in; INT8 and FP8 are quantised from a graph in FP16."""

HALF_RANGE: tuple[Precision, ...] = ("fp16", "int8", "fp8")
"""Precisions whose activations are limited to the range of FP16."""

FALLBACKS: dict[Precision, tuple[Precision, ...]] = {
    "fp16": ("fp16", "bf16", "fp32"),
    "bf16": ("bf16", "fp32"),
    "fp32": ("fp32",),
    "int8": ("int8", "fp16", "bf16", "fp32"),
    "fp8": ("fp8", "fp16", "bf16", "fp32"),
}
"""The precisions that are tried in order, by the one that was asked for."""

WARN_ABOVE = 1e4
FAIL_ABOVE = 6e4
"""FP16 ends at 65,504: activations in FP16 must stay below ``FAIL_ABOVE``."""


def apply_precision(model: nn.Module, precision: Precision) -> None:
    """Convert the weights of linear layers and convolutions in place; the network follows them.

    Before they are rounded, the scale of each attention is folded into them: the graph then scales
    nothing, which a runtime would do in half precision, and TensorRT to the keys too.
    """
    for module in model.modules():
        if isinstance(module, (SelfAttention, CrossAttention)):
            module.fold_scale()
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            module.to(TORCH_DTYPES[precision])


class ActivationRecord:
    """The largest magnitudes per block, filled inside ``record_activations``."""

    def __init__(self) -> None:
        self._stream: dict[str, float] = {}
        self._compute: dict[str, float] = {}

    def note_block(
        self, name: str, _block: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor
    ) -> None:
        """Keep what a block adds to the residual stream; a hook of the block."""
        self._stream[name] = max(self._stream.get(name, 0.0), _largest(output))

    def note_layer(
        self, name: str, _layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor
    ) -> None:
        """Keep what a layer in a block reads and writes; a hook of the layer."""
        self._compute[name] = max(
            self._compute.get(name, 0.0), _largest(inputs[0]), _largest(output)
        )

    def blocks(self) -> tuple[BlockActivation, ...]:
        """Return one entry per block, in the order of the network."""
        return tuple(
            BlockActivation(
                block=name, stream=self._stream.get(name, 0.0), compute=self._compute.get(name, 0.0)
            )
            for name in dict.fromkeys([*self._stream, *self._compute])
        )


@contextlib.contextmanager
def record_activations(model: MotivNet) -> Iterator[ActivationRecord]:
    """Record the magnitudes of everything that the model computes inside the block.

    The outputs of blocks are on the residual stream; the inputs and outputs of linear layers and
    convolutions are what a lower precision applies to.
    """
    record = ActivationRecord()
    handles = []
    for name, block in _blocks(model).items():
        handles.append(block.register_forward_hook(functools.partial(record.note_block, name)))
        handles += [
            layer.register_forward_hook(functools.partial(record.note_layer, name))
            for layer in block.modules()
            if isinstance(layer, (nn.Linear, nn.Conv2d))
        ]
    try:
        yield record
    finally:
        for handle in handles:
            handle.remove()


def _blocks(model: MotivNet) -> dict[str, nn.Module]:
    encoder, decoder = model.encoder, model.decoder
    return {
        "encoder.patch_embed": encoder.patch_embed,
        **{f"encoder.blocks.{index}": block for index, block in enumerate(encoder.blocks)},
        "decoder.embed": decoder.embed,
        **{f"decoder.blocks.{index}": block for index, block in enumerate(decoder.blocks)},
    }


def _largest(value: Tensor) -> float:
    """Return the largest magnitude; NaN and infinity count as the largest float."""
    largest = value.detach().abs().max().float()
    return float(torch.nan_to_num(largest, nan=torch.inf))

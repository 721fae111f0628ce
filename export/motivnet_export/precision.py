"""The precision of an artifact, written into the PyTorch modules, and whether activations fit it.

TensorRT 11 has no precision flags: a network is as precise as its ONNX graph says. FP16 and BF16
here mean linear layers, convolutions and attention in that type, with the residual stream and every
LayerNorm in FP32. An outlier in the stream then cannot overflow, with no more nodes in the graph
than an FP32 LayerNorm alone needs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from motivnet.model import MotivNet
from motivnet.parity import BlockActivation, Precision

TORCH_DTYPES: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "int8": torch.float16,
    "fp8": torch.float16,
}
"""The dtype that the modules compute in; INT8 and FP8 are quantised from a graph in FP16."""

COMPUTE_NAMES: dict[Precision, str] = {
    name: str(dtype).split(".")[-1] for name, dtype in TORCH_DTYPES.items()
}

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
    """Convert the weights of linear layers and convolutions in place; the network follows them."""
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            module.to(TORCH_DTYPES[precision])


class ActivationRecord:
    """The largest magnitudes per block, filled inside ``record_activations``."""

    def __init__(self) -> None:
        self._stream: dict[str, float] = {}
        self._compute: dict[str, float] = {}

    def note(self, block: str, value: Tensor, *, on_stream: bool) -> None:
        """Keep the largest magnitude of a tensor; NaN and infinity count as the largest float."""
        largest = value.detach().abs().max().float()
        number = torch.nan_to_num(largest, nan=torch.inf).item()
        table = self._stream if on_stream else self._compute
        table[block] = max(table.get(block, 0.0), number)

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
        handles.append(block.register_forward_hook(_stream_hook(record, name)))
        handles += [
            layer.register_forward_hook(_compute_hook(record, name))
            for layer in block.modules()
            if isinstance(layer, (nn.Linear, nn.Conv2d))
        ]
    try:
        yield record
    finally:
        for handle in handles:
            handle.remove()


def _blocks(model: MotivNet) -> dict[str, nn.Module]:
    blocks: dict[str, nn.Module] = {"encoder.patch_embed": model.encoder.patch_embed}
    for index, block in enumerate(model.encoder.blocks):
        blocks[f"encoder.blocks.{index}"] = block
    blocks["decoder.embed"] = model.decoder.embed
    for index, block in enumerate(model.decoder.blocks):
        blocks[f"decoder.blocks.{index}"] = block
    return blocks


_Hook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]


def _stream_hook(record: ActivationRecord, name: str) -> _Hook:
    def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        record.note(name, output, on_stream=True)

    return hook


def _compute_hook(record: ActivationRecord, name: str) -> _Hook:
    def hook(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        record.note(name, inputs[0], on_stream=False)
        record.note(name, output, on_stream=False)

    return hook

"""How large the numbers inside a network get, block by block."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from motivnet.artifact.manifest import BlockActivation
from motivnet.model import MotivNet

WARN_ABOVE = 1e4
FAIL_ABOVE = 6e4
"""FP16 ends at 65,504: what is in FP16 must stay below ``FAIL_ABOVE``."""


class ActivationRecord:
    """Largest magnitudes per block, filled while ``recording`` is active."""

    def __init__(self) -> None:
        self._stream: dict[str, float] = {}
        self._compute: dict[str, float] = {}

    def note(self, block: str, value: Tensor, *, on_stream: bool) -> None:
        """Keeps the largest magnitude of a tensor; NaN counts as infinite, and infinite as the largest float."""
        largest = torch.nan_to_num(
            value.detach().abs().max().float(), nan=torch.inf
        ).item()  # inf becomes the largest
        table = self._stream if on_stream else self._compute
        table[block] = max(table.get(block, 0.0), largest)

    def blocks(self) -> tuple[BlockActivation, ...]:
        """One entry per block, in the order of the network."""
        names = dict.fromkeys([*self._stream, *self._compute])
        return tuple(
            BlockActivation(
                block=name, stream=self._stream.get(name, 0.0), compute=self._compute.get(name, 0.0)
            )
            for name in names
        )


@contextlib.contextmanager
def recording(model: MotivNet) -> Iterator[ActivationRecord]:
    """A record of everything that the model computes inside the block.

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
    blocks |= {f"encoder.blocks.{index}": block for index, block in enumerate(model.encoder.blocks)}
    blocks["decoder.embed"] = model.decoder.embed
    return blocks | {
        f"decoder.blocks.{index}": block for index, block in enumerate(model.decoder.blocks)
    }


def _stream_hook(record: ActivationRecord, name: str) -> Any:
    def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        record.note(name, output, on_stream=True)

    return hook


def _compute_hook(record: ActivationRecord, name: str) -> Any:
    def hook(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        record.note(name, inputs[0], on_stream=False)
        record.note(name, output, on_stream=False)

    return hook

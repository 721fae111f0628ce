"""The one way in which a training's state reaches a file and comes back, as Lightning's
``CheckpointIO``.

Lightning's own way moves a file out of the system's temporary folder over the old one, unsynced, so
that a kill can leave half a file, and can report success without having written anything:
https://github.com/Lightning-AI/pytorch-lightning/issues/19970,
https://github.com/Lightning-AI/pytorch-lightning/issues/21800
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal

import torch
from lightning.fabric.plugins import CheckpointIO
from torch import Tensor
from typing_extensions import override

from motivnet.checkpoints.torch_files import read_archive, write_archive
from motivnet.checkpoints.weights import is_finite, listed
from motivnet.errors import CheckpointError, FileError, TrainingError
from motivnet.files import atomic_path, open_regular

FINITE = ("state_dict", "optimizer_states")
"""The parts of a checkpoint that must be finite; the best score of a callback, for one, starts at infinity."""


class AtomicCheckpointIO(CheckpointIO):
    """Checkpoints that are finite, whole, and loadable without running code, or not there at all."""

    @override
    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Writes a checkpoint beside its place, reads it back, and only then puts it there.

        Reading back compares every record's checksum and parses the structure by the rules of
        loading, with tensors that have no values: no second copy of the weights is ever in memory,
        and what could not be resumed from is found out while the older file still is there. The
        values themselves need no comparison: their checksums were taken of the memory that they
        were written from.

        Raises:
            TrainingError: If a weight or a state of the optimiser is NaN or infinite.
            CheckpointError: If the file could not be loaded again.
            FileError: If it cannot be written. After any error the older file is untouched.
        """
        if storage_options is not None:
            raise TypeError("checkpoints are plain files; there are no storage options")
        path = Path(path)
        _check_finite(checkpoint, path)
        with atomic_path(path) as temporary:
            write_archive(checkpoint, temporary)
            try:
                with open_regular(temporary) as file:
                    _read(file, device="meta")
            except CheckpointError as error:
                raise CheckpointError(f"{path} was not written: read back, it {error}") from error

    @override
    def load_checkpoint(
        self, path: str | Path, map_location: Any | None = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """The checkpoint in a file, on the CPU, after its checksums were compared; parsed from the
        same open file.

        Args:
            map_location: Not used: Lightning copies each tensor to where the weight of its name is.
            weights_only: Cannot be switched off: a checkpoint is data.

        Raises:
            CheckpointError: If the file is damaged, foreign, or could run code.
            FileError: If it is missing or not a regular file.
        """
        if weights_only is False:
            raise CheckpointError(
                f"{path} is not loaded with weights_only=False, which could run code from the file"
            )
        with open_regular(Path(path)) as file:
            try:
                return _read(file, device="cpu")
            except CheckpointError as error:
                raise CheckpointError(f"{path} {error}") from error

    @override
    def remove_checkpoint(self, path: str | Path) -> None:
        """Removes the file, if it is there.

        Raises:
            FileError: If it cannot be removed.
        """
        try:
            Path(path).unlink(missing_ok=True)
        except OSError as error:
            raise FileError(f"{path} cannot be removed: {error.strerror or error}") from error


def _check_finite(checkpoint: Mapping[str, Any], path: Path) -> None:
    parts = {name: checkpoint[name] for name in FINITE if name in checkpoint}
    diverged = [
        name
        for name, tensor in _tensors(parts)
        if tensor.is_floating_point() and not is_finite(tensor)
    ]
    if diverged:
        raise TrainingError(
            f"{path} was not written: NaN or infinite values in {listed(diverged)}; "
            "resume from an older checkpoint with a lower learning rate"
        )


def _read(file: BinaryIO, *, device: Literal["cpu", "meta"]) -> dict[str, Any]:
    content = read_archive(file, device=device)
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise CheckpointError(f"holds no checkpoint of a training but a {type(content).__name__}")
    if swollen := [name for name, tensor in _tensors(content) if not _fills_its_memory(tensor)]:
        raise CheckpointError(
            f"has tensors that claim more than the bytes that the file gives them: {listed(swollen)}"
        )
    return content


def _fills_its_memory(tensor: Tensor) -> bool:
    """Whether no element is made up: neither absent from a sparse tensor nor repeated by a stride of zero."""
    if tensor.layout != torch.strided or tensor.is_nested:
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def _tensors(content: object) -> Iterator[tuple[str, Tensor]]:
    """Every tensor with the keys that lead to it; a loop, because a file may nest its values however deep."""
    waiting: list[tuple[str, object]] = [("", content)]
    seen: set[int] = set()
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, Tensor):
            yield name, value
        elif id(value) not in seen and (parts := _parts(value)):
            seen.add(id(value))
            waiting += [
                (f"{name}.{key}" if name else str(key), part) for key, part in reversed(parts)
            ]


def _parts(value: object) -> list[tuple[object, object]]:
    if isinstance(value, Mapping):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, (list, tuple, set)) else []

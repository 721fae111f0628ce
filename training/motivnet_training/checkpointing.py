"""The file of a training's state: written whole or not at all, read without running code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal

import torch
from torch import Tensor

from motivnet.checkpoints.torch_files import read_archive, write_archive
from motivnet.checkpoints.weights import is_finite, listed
from motivnet.errors import CheckpointError, TrainingError
from motivnet.files import atomic_path, open_regular


def write_state(state: Mapping[str, Any], path: Path) -> None:
    """Write a state beside its place, read it back, and only then put it there.

    Reading back compares every record's checksum and parses the structure by the rules of loading,
    with tensors that have no values: no second copy of the weights is ever in memory, and what
    could not be resumed from is found out while the older file is still there. The values need no
    comparison: their checksums were taken of the memory that they were written from.

    Raises:
        TrainingError: If a weight or a moment of the optimizer is NaN or infinite.
        CheckpointError: If the file could not be loaded again.
        FileError: If it cannot be written. After any error the older file is untouched.
    """
    _check_finite(state, path)
    with atomic_path(path) as temporary:
        write_archive(dict(state), temporary)
        try:
            with open_regular(temporary) as file:
                _read(file, device="meta")
        except CheckpointError as error:
            raise CheckpointError(f"{path} was not written: read back, it {error}") from error


def read_state(path: Path) -> dict[str, Any]:
    """Return the state in a file, on the CPU, parsed from the bytes whose checksums were compared.

    Raises:
        CheckpointError: If the file is damaged, foreign, or could run code.
        FileError: If it is missing or not a regular file.
    """
    with open_regular(path) as file:
        try:
            return _read(file, device="cpu")
        except CheckpointError as error:
            raise CheckpointError(f"{path} {error}") from error


def _check_finite(state: Mapping[str, Any], path: Path) -> None:
    parts = {name: state[name] for name in ("model", "optimizer") if name in state}
    diverged = [
        name
        for name, tensor in _iterate_tensors(parts)
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
    swollen = [name for name, each in _iterate_tensors(content) if not _fills_its_memory(each)]
    if swollen:
        raise CheckpointError(
            "has tensors that claim more than the bytes that the file gives them: "
            f"{listed(swollen)}"
        )
    return content


def _fills_its_memory(tensor: Tensor) -> bool:
    """Whether no element is absent, as in a sparse tensor, or repeated by a stride of zero."""
    if tensor.layout != torch.strided or tensor.is_nested:
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def _iterate_tensors(content: object) -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor with the keys that lead to it.

    A loop and not a recursion, because a file may nest its values at any depth.
    """
    waiting: list[tuple[str, object]] = [("", content)]
    seen: set[int] = set()
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, Tensor):
            yield name, value
            continue
        parts: list[tuple[object, object]] = []
        if isinstance(value, Mapping):
            parts = list(value.items())
        elif isinstance(value, (list, tuple, set)):
            parts = list(enumerate(value))
        if parts and id(value) not in seen:
            seen.add(id(value))
            waiting += [(f"{name}.{key}" if name else str(key), part) for key, part in parts[::-1]]

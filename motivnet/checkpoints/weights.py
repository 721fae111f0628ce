"""Weights from the tensors of any file: dense, finite, FP32, none sharing memory."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, MutableMapping

import torch
from torch import Tensor
from torch.nn import functional

from motivnet.checkpoints import key_maps
from motivnet.checkpoints.key_maps import KeyLayout
from motivnet.checkpoints.stand_ins import StandIn
from motivnet.checkpoints.stored_tensors import StoredTensor
from motivnet.errors import CheckpointError

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_LISTED = 8
_TENSOR_KINDS = {
    "_rebuild_sparse_tensor": "is a sparse tensor; save it dense",
    "_rebuild_nested_tensor": "is a nested tensor; save it dense",
    "_rebuild_qtensor": "is quantised; give the weights before quantisation",
    "_rebuild_meta_tensor_no_storage": "has no values (it was saved from the meta device)",
    "_rebuild_device_tensor_from_numpy": "is of a device of its own; save it on the CPU",
    "DTensor": "is a part of a distributed tensor; gather the full state dict and save that",
    "ShardedTensor": "is a part of a distributed tensor; gather the full state dict and save that",
}
"""Tensors of other kinds by the function or class that a pickle names for them."""


def weights_from_stored(
    stored: MutableMapping[str, object], matched: Mapping[str, tuple[str, ...]]
) -> dict[str, Tensor]:
    """Return FP32 weights by our names; ``stored`` is emptied to hold one copy in memory.

    Args:
        stored: What the file holds, by its keys; the file is open.
        matched: Our names by key, from ``key_maps.group_keys``.

    Raises:
        CheckpointError: Naming every value that is not a dense, finite tensor of floating-point
            numbers.
    """
    check_dense({key: stored[key] for key in matched})
    weights: dict[str, Tensor] = {}
    infinite: list[str] = []
    for key, names in matched.items():
        value = stored.pop(key)
        tensor = value.load() if isinstance(value, StoredTensor) else value
        assert isinstance(tensor, Tensor)
        parts = {
            name: _own_float32(part) for name, part in key_maps.split_packed(tensor, names).items()
        }
        weights.update(parts)
        if not all(is_finite(part) for part in parts.values()):
            infinite.append(key)
    if infinite:
        raise CheckpointError(
            f"has weights that are NaN or infinite in FP32: {listed(infinite)}; its training "
            "diverged"
        )
    return weights


def outline_of_stored(
    stored: Mapping[str, object], matched: Mapping[str, tuple[str, ...]]
) -> dict[str, Tensor]:
    """Return the weights of ``weights_from_stored`` on the meta device; nothing is read.

    Raises:
        CheckpointError: Naming every value that is not a dense tensor of floats.
    """
    check_dense({key: stored[key] for key in matched})
    outline: dict[str, Tensor] = {}
    for key, names in matched.items():
        value = stored[key]
        assert isinstance(value, (StoredTensor, Tensor))
        whole = value.outline() if isinstance(value, StoredTensor) else value.to("meta")
        outline.update(key_maps.split_packed(whole, names))
    return outline


def check_dense(values: Mapping[str, object]) -> None:
    """Refuse values that are not dense tensors of floats with memory in the file.

    Expanded views, or tensors over the same memory, would let a small file claim any amount.

    Raises:
        CheckpointError: Naming all that are not.
    """
    claimed: Counter[object] = Counter()
    problems = [
        f"{key} {problem}" for key, value in values.items() if (problem := _problem(value, claimed))
    ]
    if problems:
        raise CheckpointError(f"has values that are not plain weights: {listed(problems)}")


def check_names(
    weights: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    unknown: list[str],
    layout: KeyLayout,
) -> None:
    """Refuse weights that are not exactly those of the model, each in its shape.

    Raises:
        CheckpointError: Naming the keys that are missing, unknown or misshaped, as the file calls
        them.
    """
    in_file = functools.partial(key_maps.name_in_file, layout=layout)
    groups = {
        "missing": [in_file(name) for name in wanted if name not in weights],
        "unknown": unknown + [in_file(name) for name in weights if name not in wanted],
        "misshaped": [
            f"{in_file(name)} has {tuple(weight.shape)} and not {tuple(wanted[name].shape)}"
            for name, weight in weights.items()
            if name in wanted and weight.shape != wanted[name].shape
        ],
    }
    found = [f"{kind}: {listed(names)}" for kind, names in groups.items() if names]
    if found:
        raise CheckpointError(f"does not hold the weights of this model; {'; '.join(found)}")


def positions_from_pretraining(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return positions ``(1, rows * columns, D)`` from those of a pretraining on a square grid.

    Those are ``(1, 1 + side * side, D)``: the class token's position is dropped and the rest
    resized with a bicubic kernel, as in the published fine-tuning. Other tensors are returned
    unchanged.
    """
    side = math.isqrt(max(positions.shape[1] - 1, 0)) if positions.ndim == 3 else 0
    if side == 0 or positions.shape[:2] != (1, 1 + side * side):
        return positions
    return resample_positions(positions[:, 1:], (side, side), grid)


def resample_positions(
    positions: Tensor, grid: tuple[int, int], new_grid: tuple[int, int]
) -> Tensor:
    """Return positions ``(1, rows * columns, D)`` of another grid, by a bicubic kernel."""
    if grid == new_grid:
        return positions.contiguous()
    plane = positions.transpose(1, 2).reshape(1, -1, *grid)  # (1, D, rows, columns)
    plane = functional.interpolate(plane, size=new_grid, mode="bicubic", align_corners=False)
    return plane.flatten(2).transpose(1, 2).contiguous()


def is_finite(tensor: Tensor) -> bool:
    """Return whether no value is NaN or infinite."""
    return bool(torch.isfinite(tensor).all())


def listed(names: Iterable[str]) -> str:
    """Return the first names on one line, each once, and how many more there are."""
    unique = list(dict.fromkeys(names))
    shown = [name if name.isprintable() else ascii(name) for name in unique[:_LISTED]]
    more = f" and {len(unique) - _LISTED} more" if len(unique) > _LISTED else ""
    return ", ".join(name[:120] for name in shown) + more


def _problem(value: object, claimed: Counter[object]) -> str | None:
    """Return why a value is not a plain weight; ``claimed`` counts the bytes per storage."""
    if isinstance(value, StoredTensor):
        return _problem_of_stored(value, claimed)
    if isinstance(value, StandIn):
        kind = _TENSOR_KINDS.get(value.name.rpartition(".")[2])
        return kind or f"is a pickled object ({listed([value.name])}) and no tensor"
    if type(value) not in (Tensor, torch.nn.Parameter):
        return f"is a {type(value).__name__}"
    assert isinstance(value, Tensor)
    if value.layout != torch.strided or value.device.type != "cpu" or value.is_nested:
        return f"is not dense ({value.layout}, on {value.device})"
    if value.dtype not in FLOATS:
        return f"is of {value.dtype}"
    storage = value.untyped_storage()
    claimed[storage.data_ptr()] += value.numel() * value.element_size()
    return _overdrawn(claimed[storage.data_ptr()], storage.nbytes())


def _problem_of_stored(value: StoredTensor, claimed: Counter[object]) -> str | None:
    if value.dtype not in FLOATS:
        return f"is of {value.dtype}"
    place = id(value.storage.archive), value.storage.member
    claimed[place] += value.claimed
    return _overdrawn(claimed[place], value.storage.size)


def _overdrawn(claimed: int, given: int) -> str | None:
    return f"claims more than the {given} bytes that the file gives it" if claimed > given else None


def _own_float32(tensor: Tensor) -> Tensor:
    converted = tensor.detach().to(torch.float32).contiguous()
    alone = converted.untyped_storage().nbytes() == converted.numel() * converted.element_size()
    return converted if alone else converted.clone()

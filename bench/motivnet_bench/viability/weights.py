"""Model similarity: how much of a MotivNet is the Sapiens encoder, and how far it moved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from motivnet.checkpoints import open_stored
from motivnet.checkpoints.key_maps import KeyLayout
from motivnet.checkpoints.shards import sha256_of_weights
from motivnet.checkpoints.weights import weights_from_stored
from motivnet.errors import CheckpointError
from motivnet_bench.viability.result import Change, Difference, ModelSimilarity, Shape

Weights: TypeAlias = Mapping[str, Tensor]

_PREFIX = "encoder."


def compare_models(model: Weights, encoder: Path) -> ModelSimilarity:
    """Compare a MotivNet's weights, by our names, with those in an encoder's file.

    The file's weights are taken as stored: unlike when it is loaded, a class token is not dropped
    and positions are not resized, because both are differences. A head in the file is left out.

    Raises:
        CheckpointError: If the file is damaged, of an unknown kind, or holds no encoder.
        FileError: If it cannot be read.
    """
    before, layout = read_encoder(encoder)
    common = [name for name in model if _shape(model, name) == _shape(before, name)]
    modules: dict[str, set[str]] = {}  # the names of the weights that each module holds itself
    for name in model:
        modules.setdefault(name.rpartition(".")[0], set()).add(name)
    differences = tuple(
        Difference(name=name, motivnet=_shape(model, name), encoder=_shape(before, name))
        for name in dict.fromkeys((*model, *before))
        if _shape(model, name) != _shape(before, name)
    )
    common_parameters = sum(model[name].numel() for name in common)
    equal = sum(int((_bits(model[name]) == _bits(before[name])).sum()) for name in common)
    norm = math.hypot(*(_norm(before[name]) for name in common))
    moved = math.hypot(*(_norm(model[name] - before[name]) for name in common))
    return ModelSimilarity(
        encoder=encoder.name,
        sha256=sha256_of_weights(encoder),
        key_layout=layout.name,
        parameters=sum(weight.numel() for weight in model.values()),
        common_parameters=common_parameters,
        modules=len(modules),
        common_modules=sum(names <= set(common) for names in modules.values()),
        differences=differences,
        bit_equal=equal / common_parameters if common else None,
        relative_change=moved / norm if norm else None,
        changes=tuple(_change(name, model[name], before[name]) for name in common),
    )


def read_encoder(path: Path) -> tuple[dict[str, Tensor], KeyLayout]:
    """Return the encoder's weights in a file by our names, in FP32, and the file's key layout.

    Raises:
        CheckpointError: If the file is damaged, of an unknown kind, or holds no encoder.
        FileError: If it cannot be read.
    """
    with open_stored(path) as found:
        wanted = {
            key: names for key, names in found.matched.items() if names[0].startswith(_PREFIX)
        }
        if not wanted:
            raise CheckpointError(
                "holds no Sapiens encoder; give the weights file that the training started from"
            )
        return weights_from_stored(found.values, wanted), found.group.layout


def _shape(weights: Weights, name: str) -> Shape | None:
    return tuple(weights[name].shape) if name in weights else None


def _bits(weight: Tensor) -> Tensor:
    return weight.contiguous().view(torch.int32)


def _change(name: str, after: Tensor, before: Tensor) -> Change:
    moved, norm = _norm(after - before), _norm(before)
    if norm:
        return Change(name=name, relative=moved / norm)
    return Change(name=name, relative=None if moved else 0.0)


def _norm(weight: Tensor) -> float:
    return float(torch.linalg.vector_norm(weight, dtype=torch.float64))

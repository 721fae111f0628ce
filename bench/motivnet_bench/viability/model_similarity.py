"""How much of a MotivNet is the Sapiens encoder that it started from, and how far its weights have moved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from motivnet.checkpoints import key_maps, open_stored
from motivnet.checkpoints.key_maps import Layout
from motivnet.checkpoints.weights import weights_from_stored
from motivnet.errors import CheckpointError
from motivnet.files import sha256_of
from motivnet_bench.viability.result import Change, Difference, ModelSimilarity

_PREFIX = "encoder."

Weights = Mapping[str, Tensor]


def model_similarity(model: Weights, encoder: Path) -> ModelSimilarity:
    """The similarity of a MotivNet's weights, by our names, to those in an encoder's file.

    The file's weights are taken as stored: unlike when it is loaded, a class token is not dropped
    and positions are not resized, because both are differences. A head in the file is left out.

    Raises:
        CheckpointError: If the file is damaged, of an unknown kind, or holds no encoder.
        FileError: If it cannot be read.
    """
    weights, layout = encoder_weights(encoder)
    common = [
        name
        for name, weight in model.items()
        if name in weights and weights[name].shape == weight.shape
    ]
    by_module = _by_module(model)
    return ModelSimilarity(
        encoder=encoder.name,
        sha256=sha256_of(encoder),
        layout=layout.name,
        parameters=sum(weight.numel() for weight in model.values()),
        common_parameters=sum(model[name].numel() for name in common),
        modules=len(by_module),
        common_modules=sum(held <= set(common) for held in by_module.values()),
        differences=_differences(model, weights),
        bit_equal=_bit_equal(model, weights, common),
        relative_change=_total_change(model, weights, common),
        changes=tuple(_change(name, model[name], weights[name]) for name in common),
    )


def encoder_weights(path: Path) -> tuple[dict[str, Tensor], Layout]:
    """The weights of the encoder in a file, by our names, in FP32, and the layout that the file
    has.

    Raises:
        CheckpointError: If the file is damaged, of an unknown kind, or holds no encoder.
        FileError: If it cannot be read.
    """
    with open_stored(path) as stored:
        layout = key_maps.layout_of(stored)
        planned = {} if layout is None else key_maps.plan(stored, layout)[0]
        wanted = {key: names for key, names in planned.items() if names[0].startswith(_PREFIX)}
        if layout is None or not wanted:
            raise CheckpointError(
                "holds no Sapiens encoder; give the weights file that the training started from"
            )
        return weights_from_stored(stored, wanted), layout


def _by_module(model: Weights) -> dict[str, set[str]]:
    """The names of the weights that each module holds itself."""
    modules: dict[str, set[str]] = {}
    for name in model:
        modules.setdefault(name.rpartition(".")[0], set()).add(name)
    return modules


def _differences(model: Weights, encoder: Weights) -> tuple[Difference, ...]:
    names = dict.fromkeys((*model, *encoder))
    pairs = ((name, _shape(model, name), _shape(encoder, name)) for name in names)
    return tuple(
        Difference(name=name, motivnet=ours, encoder=theirs)
        for name, ours, theirs in pairs
        if ours != theirs
    )


def _shape(weights: Weights, name: str) -> tuple[int, ...] | None:
    return tuple(weights[name].shape) if name in weights else None


def _bit_equal(model: Weights, encoder: Weights, common: list[str]) -> float | None:
    if not common:
        return None
    equal = sum(int((_bits(model[name]) == _bits(encoder[name])).sum()) for name in common)
    return equal / sum(model[name].numel() for name in common)


def _bits(weight: Tensor) -> Tensor:
    return weight.contiguous().view(torch.int32)


def _total_change(model: Weights, encoder: Weights, common: list[str]) -> float | None:
    before = math.hypot(*(_norm(encoder[name]) for name in common))
    return (
        math.hypot(*(_norm(model[name] - encoder[name]) for name in common)) / before
        if before
        else None
    )


def _change(name: str, after: Tensor, before: Tensor) -> Change:
    moved, norm = _norm(after - before), _norm(before)
    return Change(name=name, relative=moved / norm if norm else None if moved else 0.0)


def _norm(weight: Tensor) -> float:
    return float(torch.linalg.vector_norm(weight, dtype=torch.float64))

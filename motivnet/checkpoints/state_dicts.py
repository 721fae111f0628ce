"""Which of the state dicts in a file holds the weights, whatever training framework wrote it.

Frameworks wrap a state dict in others under many names. Every mapping in a file is a candidate; the
one that holds every weight of a model is the one that is meant. Two of them, with other values, are
refused, unless one is the moving average (EMA) of the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from motivnet.checkpoints.key_maps import KeyGroup, group_keys
from motivnet.checkpoints.stand_ins import MAX_ENTRIES, StandIn, is_module, mapping_from
from motivnet.checkpoints.stored_tensors import StoredTensor
from motivnet.checkpoints.weights import check_dense, listed
from motivnet.errors import CheckpointError

_MAX_DEPTH = 6
_MAX_NAMES = 10 * MAX_ENTRIES
_PER_MODULE = MAX_ENTRIES // 10
"""What reading a pickled module counts at least, however small it is."""
_MAX_EQUAL = 8
_AVERAGED = re.compile(
    r"(?<![a-zA-Z])ema(?![a-z])|(?<![A-Z])(?:EMA|Ema)(?![a-z])|(?i:averag)|(?<![a-z])swa(?![a-z])"
)
"""In the place of a state dict or the prefix of its keys: timm's ``state_dict_ema``, ``model_ema``,
``params_ema``, Lightning's callbacks ``EMA...`` and ``StochasticWeightAveraging``."""
_SAPIENS_2 = re.compile(r"\bblocks\.0\.attn\.wq\.weight$", re.MULTILINE)
_HARMLESS = re.compile(r"(?:.*\.)?(?:num_batches_tracked|total_ops|total_params)")
"""Counters that batch normalisation and profilers keep in a module."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDict:
    """The weights in a file: all values of their mapping, and those that a layout knows.

    ``notes`` are sentences about what else the file holds, which follow the file's name.
    """

    values: dict[str, object]
    group: KeyGroup
    left_over: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def matched(self) -> dict[str, tuple[str, ...]]:
        """Our names by key in the file."""
        return self.group.matched

    @property
    def unknown(self) -> list[str]:
        """What the model would need a place for: all of it if weights are missing."""
        keys = (key for key in self.left_over if not _HARMLESS.fullmatch(key))
        return [key for key in keys if not self.group.is_whole or self.group.is_in_block(key)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    place: tuple[str, ...]
    values: dict[str, object]
    group: KeyGroup

    @property
    def name(self) -> str:
        """Where it is in the file, for messages."""
        keys = f"{self.group.prefix}*" if self.group.prefix else ""
        return ": ".join(part for part in (".".join(self.place), keys) if part) or "the file itself"

    @property
    def is_averaged(self) -> bool:
        parts = self.group.prefix.split(".")
        outer = (".".join((*parts[:number], "n_averaged")) for number in range(len(parts)))
        return bool(_AVERAGED.search(".".join((*self.place, self.group.prefix)))) or any(
            counter in self.values  # of torch.optim.swa_utils.AveragedModel
            for counter in outer
        )


def find_state_dict(content: object, *, ema: bool = False) -> StateDict:
    """Return the weights in the content of a file.

    Args:
        ema: Take the EMA weights of those that the file holds.

    Raises:
        CheckpointError: If there are none, several with other values, or no EMA weights.
    """
    found = [
        _Candidate(place=place, values=values, group=group)
        for place, values in _mappings(content)
        for group in group_keys(values)
    ]
    if not found:
        raise CheckpointError(_describe_nothing(content))
    averaged_place, training_place = _places_of_swapped(content)
    found = _most_whole([each for each in found if each.place != training_place])
    averaged = [each for each in found if each.is_averaged or each.place == averaged_place]
    plain = [each for each in found if each not in averaged]
    if ema and not averaged:
        raise CheckpointError("holds no EMA weights; leave --ema out")
    chosen, *others = averaged if ema else plain or averaged
    if _SAPIENS_2.search("\n".join(chosen.values)):
        raise CheckpointError(
            "holds an encoder of Sapiens2, another architecture than MotivNet's; give a Sapiens v1 "
            "encoder, such as sapiens_1b_goliath_*.pth"
        )
    _check_same(chosen, others)
    _check_repeated(chosen)
    left_over = _left_over(chosen, found)
    notes = () if ema else _describe_averaged(averaged, are_used=not plain)
    if left_over and chosen.group.is_whole:
        notes += (f"holds more than the weights of a model, left out: {listed(left_over)}",)
    return StateDict(values=chosen.values, group=chosen.group, left_over=left_over, notes=notes)


def _mappings(content: object) -> Iterator[tuple[tuple[str, ...], dict[str, object]]]:
    """Yield each mapping of names that holds tensors with its place, the outer ones first.

    Raises:
        CheckpointError: If one of them, or all, have more entries than any checkpoint.
    """
    waiting: list[tuple[tuple[str, ...], object]] = [((), content)]
    seen: dict[int, object] = {}  # holds them too, so that no other gets the number
    names = 0
    for place, value in waiting:
        if id(value) in seen:
            continue
        seen[id(value)] = value
        mapping = mapping_from(value)
        if mapping is None:
            continue
        values = _by_name(mapping)
        names += len(values) + (_PER_MODULE if is_module(value) else 0)
        if names > _MAX_NAMES:
            raise CheckpointError(
                f"holds more than {_MAX_NAMES:,} names; save the state dict of the model alone"
            )
        if any(isinstance(part, (StoredTensor, Tensor)) for part in values.values()):
            if len(values) > MAX_ENTRIES:
                raise CheckpointError(
                    f"holds {len(values):,} entries, more than the {MAX_ENTRIES:,} allowed"
                )
            yield place, values
        if len(place) < _MAX_DEPTH:
            waiting += [
                ((*place, key), part)
                for key, part in values.items()
                if isinstance(part, (Mapping, StandIn))
            ]


def _by_name(mapping: Mapping[object, object]) -> dict[str, object]:
    """Return the entries with a text as key; the mapping itself if all have, to be emptied."""
    named = {key: value for key, value in mapping.items() if isinstance(key, str)}
    return mapping if isinstance(mapping, dict) and len(named) == len(mapping) else named


def _places_of_swapped(content: object) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Return where the EMA weights and those in training are, if they changed places.

    mmengine's ``EMAHook`` and Lightning's ``WeightAveraging`` save the average as ``state_dict``,
    and what they train under another name.
    """
    file = mapping_from(content) or {}
    meta = file.get("meta")
    if isinstance(meta, Mapping) and "mmengine_version" in meta and "ema_state_dict" in file:
        return ("state_dict",), ("ema_state_dict",)
    if "averaging_state" in file and "current_model_state" in file:
        return ("state_dict",), ("current_model_state",)
    return None, None


def _most_whole(candidates: list[_Candidate]) -> list[_Candidate]:
    """Return the candidates that hold whole models, else encoders, else the most weights."""
    whole = [each for each in candidates if each.group.is_whole]
    if whole:
        return [each for each in whole if each.group.has_head] or whole
    return [max(candidates, key=lambda each: len(each.group.matched))]


def _describe_averaged(averaged: list[_Candidate], *, are_used: bool) -> tuple[str, ...]:
    if not averaged:
        return ()
    name = averaged[0].name
    if are_used:
        return (f"holds EMA weights in {name}, which are used",)
    return (f"also holds EMA weights in {name}; --ema takes them",)


def _check_same(chosen: _Candidate, others: list[_Candidate]) -> None:
    """Refuse weights beside the chosen ones with other values, or very many."""
    for number, other in enumerate(others):
        keys = {names: key for key, names in other.group.matched.items()}
        same = number < _MAX_EQUAL and len(keys) == len(chosen.group.matched)
        if not same or not all(
            names in keys and _is_equal(key, chosen.values[key], other.values[keys[names]])
            for key, names in chosen.group.matched.items()
        ):
            raise CheckpointError(
                f"holds two models, {chosen.name} and {other.name}, and does not say which is "
                "meant; save the state dict of one of them alone"
            )


def _check_repeated(chosen: _Candidate) -> None:
    values = chosen.values
    for key, first in chosen.group.repeated.items():
        if not _is_equal(key, values[key], values[first]):
            raise CheckpointError(
                f"holds a weight twice with different values: {listed([first])} and {listed([key])}"
            )


def _is_equal(key: str, first: object, second: object) -> bool:
    if first is second or (isinstance(first, StoredTensor) and first == second):
        return True
    check_dense({key: first})
    check_dense({key: second})
    one, other = (
        each.load() if isinstance(each, StoredTensor) else each for each in (first, second)
    )
    assert isinstance(one, Tensor) and isinstance(other, Tensor)  # noqa: PT018 - no test
    return (one.dtype, one.shape) == (other.dtype, other.shape) and torch.equal(one, other)


def _left_over(chosen: _Candidate, found: list[_Candidate]) -> tuple[str, ...]:
    """Return the keys beside the chosen weights, without those of other models in the mapping."""
    beside = {
        key
        for each in found
        if each.values is chosen.values
        for key in (*each.group.matched, *each.group.repeated)
    }
    return tuple(
        key for key in chosen.values if key not in beside and not chosen.group.is_ignored(key)
    )


def _describe_nothing(content: object) -> str:
    mapping = mapping_from(content)
    names = [key for key in mapping or () if isinstance(key, str)]
    if not names:
        kind = f"a {type(content).__name__.removeprefix('Stored')}"
        if isinstance(content, StandIn):
            kind = f"a pickled object, {listed([content.name])}"
        return f"holds no state dict but {kind}; ask its maker for that, best as .safetensors"
    if all(mapping_from(each) == {} for each in (mapping or {}).values()):
        return f"holds nothing in {listed(names)}; save the weights again"
    largest = max((list(values) for _, values in _mappings(content)), key=len, default=names)
    return f"has keys of no known layout: {listed(largest)}"

"""The names that weights have in every known layout, and ours, as tables.

A table's row is a name in the file, then ours; ``{i}`` stands for a block's number and ``{p}`` for
``weight`` or ``bias``. Two names of ours mean that the file packs them into one tensor: query
first, then key and value.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

_Rows = tuple[tuple[str, ...], ...]

_SAPIENS: _Rows = (
    ("pos_embed", "pos_embed"),
    ("patch_embed.projection.{p}", "patch_embed.projection.{p}"),
    ("layers.{i}.ln1.{p}", "blocks.{i}.norm1.{p}"),
    ("layers.{i}.attn.qkv.{p}", "blocks.{i}.attention.qkv.{p}"),
    ("layers.{i}.attn.proj.{p}", "blocks.{i}.attention.proj.{p}"),
    ("layers.{i}.ln2.{p}", "blocks.{i}.norm2.{p}"),
    ("layers.{i}.ffn.layers.0.0.{p}", "blocks.{i}.mlp.fc1.{p}"),
    ("layers.{i}.ffn.layers.1.{p}", "blocks.{i}.mlp.fc2.{p}"),
    ("ln1.{p}", "norm.{p}"),
)
_ML_DECODER: _Rows = (
    ("query_embed.weight", "queries"),
    ("embed_standart.{p}", "embed.{p}"),
    ("layers.{i}.norm1.{p}", "blocks.{i}.norm1.{p}"),
    (
        "layers.{i}.self_attn.in_proj_{p}",
        "blocks.{i}.attention.query.{p}",
        "blocks.{i}.attention.key_value.{p}",
    ),
    ("layers.{i}.self_attn.out_proj.{p}", "blocks.{i}.attention.proj.{p}"),
    ("layers.{i}.norm2.{p}", "blocks.{i}.norm2.{p}"),
    ("layers.{i}.linear1.{p}", "blocks.{i}.fc1.{p}"),
    ("layers.{i}.linear2.{p}", "blocks.{i}.fc2.{p}"),
    ("layers.{i}.norm3.{p}", "blocks.{i}.norm3.{p}"),
    ("duplicate_pooling", "group_weight"),
    ("duplicate_pooling_bias", "group_bias"),
)
# The paper's own code calls the attention multihead_attn; MotivNet's calls the same tensors
# self_attn.
_RENAMED = (("patch_embed.projection.", "projection."), ("self_attn.", "multihead_attn."))

# What trainers and compilers put before every name: DistributedDataParallel, LightningModule.model,
# torch.compile.
_WRAPPERS = re.compile(r"(?:module\.|model\.|_orig_mod\.)+")
_FIELDS = {r"\{i\}": r"(?P<i>\d{1,4})", r"\{p\}": r"(?P<p>weight|bias)"}


@dataclass(frozen=True, slots=True)
class KeyRule:
    """One name in the file and the names of ours that it holds, stacked along the first axis."""

    in_file: str
    ours: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How one kind of file names the weights; keys with a prefix in ``ignored`` are no part of the model."""

    name: str
    rules: tuple[KeyRule, ...]
    ignored: tuple[str, ...] = ()


def _rules(rows: _Rows, in_file: str, ours: str) -> tuple[KeyRule, ...]:
    return tuple(KeyRule(in_file + row[0], tuple(ours + name for name in row[1:])) for row in rows)


def _renamed(rows: _Rows, old: str, new: str) -> _Rows:
    return tuple((row[0].replace(old, new), *row[1:]) for row in rows)


def _own_names(rows: _Rows, prefix: str) -> tuple[KeyRule, ...]:
    return tuple(KeyRule(prefix + name, (prefix + name,)) for row in rows for name in row[1:])


def _sapiens(name: str, prefix: str) -> Layout:
    heads = (
        "head.",
        "neck.",
        "mask_token",
        "decoder_",
    )  # the keypoint head, and the decoder of the pretraining
    rules = _rules((*_SAPIENS, ("cls_token", "class_token")), prefix, "encoder.")
    return Layout(name=name, rules=rules, ignored=heads)


MOTIVNET = Layout(
    name="motivnet", rules=_own_names(_SAPIENS, "encoder.") + _own_names(_ML_DECODER, "decoder.")
)
"""The names of our own modules."""

PUBLISHED = Layout(
    name="published",
    rules=_rules(_renamed(_SAPIENS, *_RENAMED[0]), "pose_encoder.", "encoder.")
    + _rules(_ML_DECODER, "decoder.decoder.", "decoder.")
    + _rules(_renamed(_ML_DECODER[3:5], *_RENAMED[1]), "decoder.decoder.", "decoder."),
)
"""``MotivNet.pth``, and the Lightning checkpoints that its training writes."""

LAYOUTS: tuple[Layout, ...] = (
    MOTIVNET,
    PUBLISHED,
    _sapiens("sapiens", ""),
    _sapiens("sapiens-backbone", "backbone."),
)
"""Every layout that is recognised; the Sapiens ones hold an encoder alone."""


def layout_of(keys: Iterable[str]) -> Layout | None:
    """The layout that knows most of the keys, or None if none of them is known anywhere."""
    keys = tuple(keys)
    known = {layout.name: sum(bool(our_names(key, layout)) for key in keys) for layout in LAYOUTS}
    best = max(LAYOUTS, key=lambda layout: known[layout.name])
    return best if known[best.name] else None


def our_names(key: str, layout: Layout) -> tuple[str, ...]:
    """Our names of what a key in the file holds; none if the layout does not know it."""
    bare = _WRAPPERS.sub("", key, count=1) if _WRAPPERS.match(key) else key
    for rule in layout.rules:
        if match := _pattern(rule.in_file).fullmatch(bare):
            return tuple(name.format(**match.groupdict()) for name in rule.ours)
    return ()


def name_in_file(ours: str, layout: Layout) -> str:
    """The file's name for the tensor that holds one of ours; ours itself if the layout has none."""
    return _place_in_file(ours, layout)[0]


def plan(keys: Iterable[str], layout: Layout) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Our names by key in the file, and the keys that the layout does not know or that name a tensor again."""
    planned: dict[str, tuple[str, ...]] = {}
    unknown: list[str] = []
    taken: set[str] = set()
    for key in keys:
        names = our_names(key, layout)
        if names and taken.isdisjoint(names):
            planned[key] = names
            taken.update(names)
        elif not _WRAPPERS.sub("", key, count=1).startswith(layout.ignored):
            unknown.append(key)
    return planned, unknown


def split_packed(tensor: Tensor, names: tuple[str, ...]) -> dict[str, Tensor]:
    """A tensor of the file by our names: itself, or its first third (query) and the rest (key and value)."""
    if len(names) == 1 or tensor.ndim == 0:
        return dict.fromkeys(names, tensor)
    rows = tensor.shape[0] // 3
    return dict(zip(names, (tensor[:rows], tensor[rows:]), strict=True))


def published_from_model(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A MotivNet's state dict under the names, and with the packed tensors, of the published
    ``MotivNet.pth``.

    Raises:
        KeyError: If a name is not one of a MotivNet's.
    """
    parts: dict[str, dict[int, Tensor]] = {}
    for ours, tensor in state.items():
        key, position = _place_in_file(ours, PUBLISHED)
        if position is None:
            raise KeyError(ours)
        parts.setdefault(key, {})[position] = tensor
    return {key: torch.cat([found[i] for i in sorted(found)]) for key, found in parts.items()}


def _place_in_file(ours: str, layout: Layout) -> tuple[str, int | None]:
    """The key that holds a tensor of ours, and which of its parts it is."""
    for rule in layout.rules:
        for position, name in enumerate(rule.ours):
            if match := _pattern(name).fullmatch(ours):
                return rule.in_file.format(**match.groupdict()), position
    return ours, None


@functools.cache
def _pattern(template: str) -> re.Pattern[str]:
    pattern = re.escape(template)
    for field, group in _FIELDS.items():
        pattern = pattern.replace(field, group)
    return re.compile(pattern)

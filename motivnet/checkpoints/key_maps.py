"""The names of weights in every known layout of keys, and ours, as tables.

A row is a name in the file, then ours; ``{i}`` stands for the number of a block and ``{p}`` for
``weight`` or ``bias``. Two names of ours mean that the file packs them into one tensor: first
query, then key and value.
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

# Prefixes of DistributedDataParallel, LightningModule.model and torch.compile.
_WRAPPERS = re.compile(r"^(?:module\.|model\.|_orig_mod\.)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLayout:
    """The names of weights in one kind of file; keys with a prefix in ``ignored`` are left out."""

    name: str
    rows: _Rows
    ignored: tuple[str, ...] = ()


def _prefixed(rows: _Rows, in_file: str, ours: str) -> _Rows:
    return tuple((in_file + row[0], *(ours + name for name in row[1:])) for row in rows)


def _renamed(rows: _Rows, old: str, new: str) -> _Rows:
    return tuple((row[0].replace(old, new), *row[1:]) for row in rows)


def _own_names(rows: _Rows, prefix: str) -> _Rows:
    return tuple((prefix + name, prefix + name) for row in rows for name in row[1:])


def _sapiens(name: str, prefix: str) -> KeyLayout:
    # The keypoint head, and the decoder of the pretraining.
    ignored = ("head.", "neck.", "mask_token", "decoder_")
    rows = _prefixed((*_SAPIENS, ("cls_token", "class_token")), prefix, "encoder.")
    return KeyLayout(name=name, rows=rows, ignored=ignored)


MOTIVNET = KeyLayout(
    name="motivnet", rows=_own_names(_SAPIENS, "encoder.") + _own_names(_ML_DECODER, "decoder.")
)
"""The names of our own modules."""

# The code of the paper calls the attention multihead_attn, MotivNet's self_attn.
PUBLISHED = KeyLayout(
    name="published",
    rows=_prefixed(
        _renamed(_SAPIENS, "patch_embed.projection.", "projection."), "pose_encoder.", "encoder."
    )
    + _prefixed(
        (*_ML_DECODER, *_renamed(_ML_DECODER[3:5], "self_attn.", "multihead_attn.")),
        "decoder.decoder.",
        "decoder.",
    ),
)
"""``MotivNet.pth``, and the Lightning checkpoints that its training writes."""

LAYOUTS: tuple[KeyLayout, ...] = (
    MOTIVNET,
    PUBLISHED,
    _sapiens("sapiens", ""),
    _sapiens("sapiens-backbone", "backbone."),
)
"""Every known layout; the Sapiens ones hold an encoder alone."""


def recognise_layout(keys: Iterable[str]) -> KeyLayout | None:
    """Return the layout that knows most of the keys, or None if no layout knows any."""
    keys = tuple(keys)
    known = {layout.name: sum(bool(our_names(key, layout)) for key in keys) for layout in LAYOUTS}
    best = max(LAYOUTS, key=lambda layout: known[layout.name])
    return best if known[best.name] else None


def our_names(key: str, layout: KeyLayout) -> tuple[str, ...]:
    """Return our names of what a key in the file holds, none if the layout does not know it."""
    bare = _WRAPPERS.sub("", key)
    for in_file, *ours in layout.rows:
        if match := _pattern(in_file).fullmatch(bare):
            return tuple(name.format(**match.groupdict()) for name in ours)
    return ()


def name_in_file(ours: str, layout: KeyLayout) -> str:
    """Return the file's name of the tensor that holds one of ours, or our name without one."""
    return _place_in_file(ours, layout)[0]


def match_keys(
    keys: Iterable[str], layout: KeyLayout
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Return our names by key in the file, and the keys that are unknown or repeat a tensor."""
    matched: dict[str, tuple[str, ...]] = {}
    unknown: list[str] = []
    taken: set[str] = set()
    for key in keys:
        names = our_names(key, layout)
        if names and taken.isdisjoint(names):
            matched[key] = names
            taken.update(names)
        elif not _WRAPPERS.sub("", key).startswith(layout.ignored):
            unknown.append(key)
    return matched, unknown


def split_packed(tensor: Tensor, names: tuple[str, ...]) -> dict[str, Tensor]:
    """Return a tensor by our names: itself, or its first third (query) and the rest."""
    if len(names) == 1 or tensor.ndim == 0:
        return dict.fromkeys(names, tensor)
    rows = tensor.shape[0] // 3
    return dict(zip(names, (tensor[:rows], tensor[rows:]), strict=True))


def published_from_model(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict with the names and packed tensors of the published ``MotivNet.pth``.

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


def _place_in_file(ours: str, layout: KeyLayout) -> tuple[str, int | None]:
    """Return the key that holds a tensor of ours, and its place in it."""
    for in_file, *names in layout.rows:
        for position, name in enumerate(names):
            if match := _pattern(name).fullmatch(ours):
                return in_file.format(**match.groupdict()), position
    return ours, None


@functools.cache
def _pattern(template: str) -> re.Pattern[str]:
    pattern = re.escape(template).replace(r"\{i\}", r"(?P<i>\d{1,4})")
    return re.compile(pattern.replace(r"\{p\}", "(?P<p>weight|bias)"))

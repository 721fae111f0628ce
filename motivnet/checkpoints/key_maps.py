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

_MAX_KEY = 200
_WRAPPERS = re.compile(
    r"(?<![^.])(?:module|_module|_orig_mod|_forward_module|_fsdp_wrapped_module|_fpw_module"
    r"|_checkpoint_wrapped_module)\."
)
"""What DistributedDataParallel, torch.compile, FSDP, activation checkpointing, Lightning and Opacus
add to the names of a module that they wrap, wherever it is in the model."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyGroup:
    """Keys of one layout that have the same prefix, such as ``model.`` of a LightningModule.

    ``matched`` are our names by key; ``repeated`` are keys of a weight that another key has too,
    with that key.
    """

    layout: KeyLayout
    prefix: str
    matched: dict[str, tuple[str, ...]]
    repeated: dict[str, str]

    @property
    def has_head(self) -> bool:
        """Whether there are weights of the head."""
        return any(names[0].startswith("decoder.") for names in self.matched.values())

    @property
    def is_whole(self) -> bool:
        """Whether every weight of the encoder is there, and of the head if any of it is."""
        found = {name for names in self.matched.values() for name in names}
        parts = ("encoder.", "decoder.") if self.has_head else ("encoder.",)
        return all(self._is_whole(part, found) for part in parts)

    def _is_whole(self, part: str, found: set[str]) -> bool:
        templates = {
            name for row in self.layout.rows for name in row[1:] if name.startswith(part)
        } - {"encoder.class_token"}
        blocks = {
            int(match[1]) for name in found if (match := re.match(rf"{part}blocks\.(\d+)\.", name))
        }
        if blocks != set(range(len(blocks))) or not blocks:
            return False
        return all(
            template.format(i=i, p=p) in found
            for template in templates
            for i in (blocks if "{i}" in template else (0,))
            for p in ("weight", "bias")
        )

    def is_ignored(self, key: str) -> bool:
        """Return whether the layout says that a key is of no part of the model."""
        bare = _WRAPPERS.sub("", key)
        return bare.removeprefix(self.prefix).startswith(self.layout.ignored)

    def is_in_block(self, key: str) -> bool:
        """Return whether a key is in a block of the model, so that leaving it out changes that."""
        bare = _WRAPPERS.sub("", key)
        stems = {row[0].partition("{i}.")[0] for row in self.layout.rows if "{i}." in row[0]}
        return any(re.match(re.escape(self.prefix + stem) + r"\d+\.", bare) for stem in stems)


def group_keys(keys: Iterable[str]) -> list[KeyGroup]:
    """Return the keys that a layout knows, by layout and prefix; the one with the most is first."""
    groups: dict[tuple[str, str], KeyGroup] = {}
    taken: dict[tuple[str, str], dict[tuple[str, ...], str]] = {}
    for key in keys:
        bare = _WRAPPERS.sub("", key) if len(key) <= _MAX_KEY else ""
        for layout in LAYOUTS:
            if (match := _pattern_of(layout).fullmatch(bare)) is None:
                continue
            place = layout.name, match["prefix"]
            names = _our_names(match, layout)
            group = groups.setdefault(
                place, KeyGroup(layout=layout, prefix=match["prefix"], matched={}, repeated={})
            )
            first = taken.setdefault(place, {}).setdefault(names, key)
            if first == key:
                group.matched[key] = names
            else:
                group.repeated[key] = first
    return sorted(groups.values(), key=lambda group: (-len(group.matched), len(group.prefix)))


def _our_names(match: re.Match[str], layout: KeyLayout) -> tuple[str, ...]:
    row = match.lastgroup or ""
    found = match.groupdict()
    parts = {"i": found.get(f"i{row}"), "p": found.get(f"p{row}")}
    return tuple(name.format(**parts) for name in layout.rows[int(row.removeprefix("row"))][1:])


@functools.cache
def _pattern_of(layout: KeyLayout) -> re.Pattern[str]:
    """Return a pattern of every row, after the shortest prefix."""
    rows = (
        f"(?P<row{number}>"
        + _pattern(row[0])
        .pattern.replace("<i>", f"<irow{number}>")
        .replace("<p>", f"<prow{number}>")
        + ")"
        for number, row in enumerate(layout.rows)
    )
    return re.compile(rf"(?P<prefix>(?:[^.]*\.){{0,8}}?)(?:{'|'.join(rows)})")


def name_in_file(ours: str, layout: KeyLayout) -> str:
    """Return the file's name of the tensor that holds one of ours, or our name without one."""
    return _place_in_file(ours, layout)[0]


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

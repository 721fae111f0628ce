"""The sizes of a model as its weights' shapes show them, and the configuration that they belong to.

Heads, patch padding and the sides of the image leave no trace in the shapes; they come with a named
size or with a configuration.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from motivnet.config import NAMED_SIZES, ModelConfig
from motivnet.errors import CheckpointError, ConfigError

Shapes = Mapping[str, tuple[int, ...]]
Sizes = Mapping[str, int]

_AXES: dict[str, tuple[str, int]] = {
    "encoder.embed_dim": ("encoder.norm.weight", 0),
    "encoder.mlp_dim": ("encoder.blocks.0.mlp.fc1.weight", 0),
    "encoder.patch_size": ("encoder.patch_embed.projection.weight", 2),
    "encoder.tokens": ("encoder.pos_embed", 1),
    "decoder.embed_dim": ("decoder.queries", 1),
    "decoder.mlp_dim": ("decoder.blocks.0.fc1.weight", 0),
    "decoder.num_groups": ("decoder.queries", 0),
    "decoder.num_classes": ("decoder.group_bias", 0),
}
"""Size -> the weight, by our name, and the axis that shows it."""

_WAY_OUT = "describe the model with --model CONFIG.json"
_IDENTITY = ("encoder.embed_dim", "encoder.depth")


def sizes_from_shapes(shapes: Shapes) -> dict[str, int]:
    """Every size that the shapes, by our names, show; a size whose weight is missing or misshaped
    is left out.

    The positions of a pretraining encoder, the one with a class token, are resized later and show
    nothing.
    """
    sizes = {
        size: shapes[key][axis]
        for size, (key, axis) in _AXES.items()
        if len(shapes.get(key, ())) > axis
    }
    for part in ("encoder", "decoder"):
        numbers = [
            int(match[1])
            for key in shapes
            if (match := re.match(rf"{part}\.blocks\.(\d{{1,4}})\.", key))
        ]
        if numbers:
            sizes[f"{part}.depth"] = max(numbers) + 1
    if "encoder.class_token" in shapes:
        sizes.pop("encoder.tokens", None)
    return sizes


def sizes_from_config(config: ModelConfig) -> dict[str, int]:
    """The same sizes as a configuration gives them."""
    encoder, decoder = config.encoder, config.decoder
    rows, columns = encoder.grid_size
    return {
        "encoder.embed_dim": encoder.embed_dim,
        "encoder.depth": encoder.depth,
        "encoder.mlp_dim": int(encoder.embed_dim * encoder.mlp_ratio),
        "encoder.patch_size": encoder.patch_size,
        "encoder.tokens": rows * columns,
        "decoder.embed_dim": decoder.embed_dim,
        "decoder.depth": decoder.depth,
        "decoder.mlp_dim": decoder.mlp_dim,
        "decoder.num_groups": decoder.num_groups,
        "decoder.num_classes": decoder.num_classes,
    }


def config_from_sizes(sizes: Sizes) -> ModelConfig:
    """The named size whose sizes these are, with the number of groups and classes that they show.

    Raises:
        CheckpointError: If there is none; it names the sizes, or how the nearest named size
        differs.
    """
    candidates = {name: _with_outputs(config, sizes) for name, config in NAMED_SIZES.items()}
    for name, config in candidates.items():
        wanted = sizes_from_config(config)
        if any(sizes.get(key) != wanted[key] for key in _IDENTITY):
            continue
        if different := differences(sizes, wanted):
            raise CheckpointError(f"is like {name}, but {different}; {_WAY_OUT}")
        return config
    shown = ", ".join(f"{name} {size}" for name, size in sizes.items()) or "none to be seen"
    raise CheckpointError(f"has the sizes of no named model ({shown}); {_WAY_OUT}")


def differences(sizes: Sizes, wanted: Sizes) -> str:
    """Every size that differs, as text; empty if none does."""
    return ", ".join(
        f"{name} is {size} and not {wanted[name]}"
        for name, size in sizes.items()
        if size != wanted[name]
    )


def _with_outputs(config: ModelConfig, sizes: Sizes) -> ModelConfig:
    outputs = {
        name: sizes[f"decoder.{name}"]
        for name in ("num_groups", "num_classes")
        if f"decoder.{name}" in sizes
    }
    try:
        return dataclasses.replace(config, decoder=dataclasses.replace(config.decoder, **outputs))
    except ConfigError as error:
        raise CheckpointError(f"has a head that is not possible: {error}") from error

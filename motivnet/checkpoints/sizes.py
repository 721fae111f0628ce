"""The sizes of a model in the shapes of its weights, and the configuration that has them.

Attention heads, patch padding and the sides of the image are not in the shapes; they come from a
named size or from a configuration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec.structs import replace
from torch import Tensor

from motivnet.config import NAMED_SIZES, ModelConfig
from motivnet.errors import CheckpointError, ConfigError

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
"""The weight, by our name, and the axis that shows a size."""

_ADVICE = "describe the model with --model CONFIG.json"


def sizes_from_weights(weights: Mapping[str, Tensor]) -> dict[str, int]:
    """Return the sizes in the shapes of the weights that are there, by our names.

    The positions of a pretraining encoder, which has a class token, are resized later and show no
    size.
    """
    sizes = {
        size: weights[key].shape[axis]
        for size, (key, axis) in _AXES.items()
        if key in weights and weights[key].ndim > axis
    }
    for part in ("encoder", "decoder"):
        numbers = [
            int(match[1])
            for key in weights
            if (match := re.match(rf"{part}\.blocks\.(\d{{1,4}})\.", key))
        ]
        if numbers:
            sizes[f"{part}.depth"] = max(numbers) + 1
    if "encoder.class_token" in weights:
        sizes.pop("encoder.tokens", None)
    return sizes


def sizes_from_config(config: ModelConfig) -> dict[str, int]:
    """Return the same sizes of a configuration."""
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


def config_from_sizes(sizes: Mapping[str, int]) -> ModelConfig:
    """Return the named size with these sizes, and with their number of groups and classes.

    Raises:
        CheckpointError: If there is none, with the differences to the nearest named size.
    """
    candidates = {name: _with_outputs(config, sizes) for name, config in NAMED_SIZES.items()}
    for name, config in candidates.items():
        wanted = sizes_from_config(config)
        if any(sizes.get(key) != wanted[key] for key in ("encoder.embed_dim", "encoder.depth")):
            continue
        if different := differences(sizes, wanted):
            raise CheckpointError(f"is like {name}, but {different}; {_ADVICE}")
        return config
    shown = ", ".join(f"{name} {size}" for name, size in sizes.items()) or "none are known"
    raise CheckpointError(f"has the sizes of no named model ({shown}); {_ADVICE}")


def differences(sizes: Mapping[str, object], wanted: Mapping[str, object]) -> str:
    """Return every size that differs, as text; empty if none does."""
    return ", ".join(
        f"{name} is {size} and not {wanted[name]}"
        for name, size in sizes.items()
        if size != wanted[name]
    )


def _with_outputs(config: ModelConfig, sizes: Mapping[str, int]) -> ModelConfig:
    outputs = {
        name: sizes[f"decoder.{name}"]
        for name in ("num_groups", "num_classes")
        if f"decoder.{name}" in sizes
    }
    try:
        return replace(config, decoder=replace(config.decoder, **outputs))
    except ConfigError as error:
        raise CheckpointError(f"has a head that is not possible: {error}") from error

"""How much a model of a configuration may hold and compute: what its own network does, and as much again."""

from __future__ import annotations

from dataclasses import dataclass

from motivnet.config import ModelConfig

_SLACK = 2
_SMALLEST = 1 << 16
_NODES_OF_A_BLOCK, _OTHER_NODES = 64, 128
"""The exports have at most 45 nodes a block (INT8 with decomposed attention), and 40 others."""

_LIVE_TENSORS = 8
"""As large as the largest one, at the same time; a block of the exports has up to four."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most elements of one tensor, elements of all tensors alive at once, and multiplications."""

    elements: int
    live: int
    multiplications: int


def limits_of(config: ModelConfig, *, batch: int) -> Limits:
    """The limits of a model's graph for one call of ``batch`` images."""
    elements = max(_SMALLEST, _SLACK * max(config.parameters, batch * _largest_tensor(config)))
    products = _SLACK * batch * _multiplications(config)
    return Limits(elements=elements, live=_LIVE_TENSORS * elements, multiplications=products)


def max_nodes(config: ModelConfig) -> int:
    """The most nodes, and the most initialisers, of a model's graph."""
    return _NODES_OF_A_BLOCK * (config.encoder.depth + config.decoder.depth) + _OTHER_NODES


def _largest_tensor(config: ModelConfig) -> int:
    """Elements of the largest tensor of one image: pixels, an MLP, or the scores of an attention."""
    encoder, decoder, tokens = config.encoder, config.decoder, _tokens(config)
    groups, per_group = decoder.num_groups, -(-decoder.num_classes // decoder.num_groups)
    rows, columns = encoder.image_size
    return max(
        3 * (rows + 2 * encoder.patch_padding) * (columns + 2 * encoder.patch_padding),
        tokens * max(3 * encoder.embed_dim, encoder.mlp_dim, 2 * decoder.embed_dim),
        encoder.num_heads * tokens**2,
        decoder.num_heads * groups * max(tokens, groups),
        groups * max(decoder.mlp_dim, decoder.embed_dim * per_group),
    )


def _multiplications(config: ModelConfig) -> int:
    """At most: each weight once for each token or query, and the products of the attentions."""
    encoder, decoder, tokens = config.encoder, config.decoder, _tokens(config)
    weights = config.parameters * max(tokens, decoder.num_groups)
    attention = 2 * tokens**2 * encoder.embed_dim * encoder.depth
    return weights + attention + 2 * decoder.num_groups * tokens * decoder.embed_dim * decoder.depth


def _tokens(config: ModelConfig) -> int:
    rows, columns = config.encoder.grid_size
    return rows * columns

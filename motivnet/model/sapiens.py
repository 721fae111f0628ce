"""The Sapiens v1 encoder: a plain vision transformer with learned absolute positions.

Written from the papers (Khirodkar et al. 2024, arXiv 2408.12569; Dosovitskiy et al. 2020, arXiv
2010.11929).

The precision of the network is the dtype of its weights. Linear layers, convolutions and attention
run in the dtype of their weights; the residual stream and every LayerNorm stay in the dtype of the
position embedding. If all of them are FP32 the casts below do nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

LAYER_NORM_EPS = 1e-6


class PatchEmbedding(nn.Module):
    """Cuts an image into patches and projects each to a token."""

    def __init__(self, *, embed_dim: int, patch_size: int, patch_padding: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(
            3, embed_dim, patch_size, stride=patch_size, padding=patch_padding
        )

    def forward(self, image: Tensor) -> Tensor:
        """Map ``(B, 3, H, W)`` to tokens ``(B, N, D)``, row by row."""
        patches: Tensor = self.projection(image.to(self.projection.weight.dtype))  # (B, D, h, w)
        return patches.flatten(2).transpose(1, 2)  # (B, N, D)


def split_heads(tokens: Tensor, num_heads: int) -> Tensor:
    """Map ``(B, N, D)`` to ``(B, heads, N, D / heads)``."""
    return tokens.reshape(tokens.shape[0], tokens.shape[1], num_heads, -1).transpose(1, 2)


def attend(query: Tensor, key: Tensor, value: Tensor, *, scale: float) -> Tensor:
    """Return scaled dot-product attention of ``(B, heads, N, dim)``, joined to ``(B, N, D)``."""
    mixed = functional.scaled_dot_product_attention(query, key, value, scale=scale)
    return mixed.transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Multi-head self-attention with one packed projection for query, key and value."""

    def __init__(self, *, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.scale = (embed_dim // num_heads) ** -0.5
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map ``(B, N, D)`` to ``(B, N, D)``."""
        query, key, value = (
            split_heads(part, self.num_heads) for part in self.qkv(tokens).chunk(3, dim=-1)
        )
        out: Tensor = self.proj(attend(query, key, value, scale=self.scale))  # (B, N, D)
        return out

    def fold_scale(self) -> None:
        """Multiply the query's projection by the scale, which becomes 1, once and for all calls.

        In FP32, before the weights are rounded: a runtime then scales nothing per image.
        """
        queries = self.qkv.out_features // 3
        with torch.no_grad():
            self.qkv.weight[:queries].mul_(self.scale)
            self.qkv.bias[:queries].mul_(self.scale)
        self.scale = 1.0


class MLP(nn.Module):
    """Two linear layers with the exact (error function) GELU between them."""

    def __init__(self, *, embed_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(embed_dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, embed_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map ``(B, N, D)`` to ``(B, N, D)``."""
        out: Tensor = self.fc2(functional.gelu(self.fc1(tokens)))
        return out


class EncoderBlock(nn.Module):
    """A pre-norm transformer block on a residual stream."""

    def __init__(self, *, embed_dim: int, num_heads: int, hidden_dim: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)
        self.attention = SelfAttention(embed_dim=embed_dim, num_heads=num_heads)
        self.norm2 = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)
        self.mlp = MLP(embed_dim=embed_dim, hidden_dim=hidden_dim)

    def forward(self, stream: Tensor) -> Tensor:
        """Map ``(B, N, D)`` to ``(B, N, D)`` in the dtype of the stream."""
        compute = self.attention.qkv.weight.dtype
        stream = stream + self.attention(self.norm1(stream).to(compute)).to(stream.dtype)
        out: Tensor = stream + self.mlp(self.norm2(stream).to(compute)).to(stream.dtype)
        return out


class SapiensEncoder(nn.Module):
    """A Sapiens v1 encoder that gives the feature map of the last block.

    Args:
        image_size: (height, width) in pixels, multiples of ``patch_size``.
        kept_tokens: Positions, numbered row by row, whose tokens the blocks compute; None for all.
            A token that is left out is no key of any attention and no part of the feature map.
        class_token: Prepend a class token that takes part in attention and is left out of the
            feature map; the published pretraining checkpoints have one, MotivNet has none.
    """

    def __init__(
        self,
        *,
        embed_dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
        patch_size: int,
        patch_padding: int,
        image_size: tuple[int, int],
        kept_tokens: Sequence[int] | None = None,
        class_token: bool = False,
    ) -> None:
        super().__init__()
        self.grid_size = (image_size[0] // patch_size, image_size[1] // patch_size)
        tokens = self.grid_size[0] * self.grid_size[1] + int(class_token)
        self.patch_embed = PatchEmbedding(
            embed_dim=embed_dim, patch_size=patch_size, patch_padding=patch_padding
        )
        self.class_token = nn.Parameter(torch.zeros(1, 1, embed_dim)) if class_token else None
        self.kept_tokens = None if kept_tokens is None else tuple(kept_tokens)
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, embed_dim))
        hidden_dim = int(embed_dim * mlp_ratio)
        self.blocks = nn.ModuleList(
            EncoderBlock(embed_dim=embed_dim, num_heads=num_heads, hidden_dim=hidden_dim)
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)

    def tokens(self, image: Tensor) -> Tensor:
        """Return the final, normalised tokens ``(B, N, D)`` of images ``(B, 3, H, W)``.

        N counts the tokens that are kept.
        """
        stream: Tensor = self.patch_embed(image).to(self.pos_embed.dtype)  # (B, N, D)
        if self.class_token is not None:
            stream = torch.cat([self.class_token.expand(stream.shape[0], -1, -1), stream], dim=1)
        stream = stream + self.pos_embed
        if self.kept_tokens is not None:
            kept = torch.tensor(self.kept_tokens, device=stream.device)
            stream = stream.index_select(1, kept)
        for block in self.blocks:
            stream = block(stream)
        stream = self.norm(stream)
        return stream if self.class_token is None else stream[:, 1:]

    def forward(self, image: Tensor) -> Tensor:
        """Return the feature map ``(B, D, h, w)`` of images ``(B, 3, H, W)``.

        It is zero where tokens are left out.
        """
        tokens = self.tokens(image)
        if self.kept_tokens is not None:
            whole = tokens.new_zeros(tokens.shape[0], math.prod(self.grid_size), tokens.shape[2])
            whole[:, list(self.kept_tokens)] = tokens
            tokens = whole
        return tokens.transpose(1, 2).reshape(tokens.shape[0], -1, *self.grid_size)  # (B, D, h, w)

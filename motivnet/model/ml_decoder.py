"""The ML-Decoder head: fixed queries read the image's tokens by cross-attention.

Written from the paper (Ridnik et al. 2021, arXiv 2111.12933): no self-attention among the queries,
and a group fully-connected layer in which each query answers for a group of classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from motivnet.model.sapiens import attend, split_heads

LAYER_NORM_EPS = 1e-5


class CrossAttention(nn.Module):
    """Multi-head attention of queries over the image's tokens."""

    def __init__(self, *, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.scale = (embed_dim // num_heads) ** -0.5
        self.query = nn.Linear(embed_dim, embed_dim)
        self.key_value = nn.Linear(embed_dim, 2 * embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        """Map queries ``(1 or B, Q, D)`` and memory ``(B, N, D)`` to ``(B, Q, D)``."""
        query = self.query(queries)  # (1 or B, Q, D)
        if queries.shape[0] == 1:
            query = query.expand(memory.shape[0], -1, -1)  # (B, Q, D)
        query = split_heads(query, self.num_heads)  # (B, heads, Q, dim)
        key, value = (
            split_heads(part, self.num_heads) for part in self.key_value(memory).chunk(2, dim=-1)
        )
        out: Tensor = self.proj(attend(query, key, value, scale=self.scale))  # (B, Q, D)
        return out

    def fold_scale(self) -> None:
        """Multiply the query's projection by the scale, as ``SelfAttention.fold_scale``."""
        with torch.no_grad():
            self.query.weight.mul_(self.scale)
            self.query.bias.mul_(self.scale)
        self.scale = 1.0


class DecoderBlock(nn.Module):
    """A post-norm transformer decoder block without self-attention.

    The paper keeps the residual sum of the removed self-attention, which then adds the queries to
    themselves before the first norm. Doubling the input of a LayerNorm is the same as a quarter of
    its epsilon, so the sum is left out and ``norm1`` has that epsilon.
    """

    def __init__(self, *, embed_dim: int, num_heads: int, mlp_dim: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS / 4)
        self.attention = CrossAttention(embed_dim=embed_dim, num_heads=num_heads)
        self.norm2 = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)
        self.fc1 = nn.Linear(embed_dim, mlp_dim)
        self.fc2 = nn.Linear(mlp_dim, embed_dim)
        self.norm3 = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        """Map queries ``(1 or B, Q, D)`` and memory ``(B, N, D)`` to queries ``(B, Q, D)``."""
        compute, stream = self.fc1.weight.dtype, queries.dtype
        queries = self.norm1(queries)
        queries = self.norm2(queries + self.attention(queries.to(compute), memory).to(stream))
        hidden = functional.relu(self.fc1(queries.to(compute)))
        out: Tensor = self.norm3(queries + self.fc2(hidden).to(stream))
        return out


class MLDecoder(nn.Module):
    """ML-Decoder with a group fully-connected output.

    Args:
        in_dim: Width of the encoder's tokens.
        num_groups: Queries; each gives ``ceil(num_classes / num_groups)`` logits, of which the
            first ``num_classes`` are kept.
    """

    def __init__(
        self,
        *,
        in_dim: int,
        embed_dim: int,
        num_heads: int,
        depth: int,
        mlp_dim: int,
        num_groups: int,
        num_classes: int,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        per_group = -(-num_classes // num_groups)
        self.embed = nn.Linear(in_dim, embed_dim)
        self.queries = nn.Parameter(torch.empty(num_groups, embed_dim))
        self.blocks = nn.ModuleList(
            DecoderBlock(embed_dim=embed_dim, num_heads=num_heads, mlp_dim=mlp_dim)
            for _ in range(depth)
        )
        self.group_weight = nn.Parameter(torch.empty(num_groups, embed_dim, per_group))
        self.group_bias = nn.Parameter(torch.zeros(num_classes))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits ``(B, classes)`` of tokens ``(B, N, in_dim)``, in the queries' dtype."""
        memory = functional.relu(self.embed(tokens.to(self.embed.weight.dtype)))  # (B, N, D)
        queries = self.queries.unsqueeze(0)  # (1, Q, D)
        for block in self.blocks:
            queries = block(queries, memory)  # (B, Q, D)
        logits = (queries.unsqueeze(-1) * self.group_weight).sum(dim=2)  # (B, Q, per group)
        return logits.flatten(1)[:, : self.num_classes] + self.group_bias

"""Which tokens a model that keeps a share of them keeps: those that its head looks at most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from motivnet.config import EncoderConfig
from motivnet.datasets.image_folders import pick_evenly
from motivnet.datasets.sample import Sample
from motivnet.errors import ConfigError
from motivnet.model import MotivNet
from motivnet.model.ml_decoder import DecoderBlock, MLDecoder
from motivnet.model.runtime import DTYPES, Compute
from motivnet.model.sapiens import split_heads
from motivnet.preprocess import Preprocessing
from motivnet.terminal import progress
from motivnet_engines.faces.alignment import aligned

MAX_IMAGES = 512
"""Over which the attention is averaged; the mean of more hardly differs."""


def check_share(share: float) -> None:
    """Refuse a share of tokens to keep that is not between 0 and 1.

    Raises:
        ConfigError: If it is not.
    """
    if not 0 < share < 1:
        raise ConfigError(f"the share of tokens to keep must be between 0 and 1, not {share:g}")


def count_kept(tokens: int, share: float) -> int:
    """Return how many of the tokens a share is: at least one, and not all.

    Raises:
        ConfigError: If the share is not between 0 and 1, or there is one token.
    """
    check_share(share)
    if tokens < 2:
        raise ConfigError("a model with one token cannot leave it out; leave out --keep-tokens")
    return min(max(1, round(share * tokens)), tokens - 1)


def most_used_tokens(
    model: MotivNet,
    samples: Sequence[Sample],
    count: int,
    *,
    config: EncoderConfig,
    preprocess: Preprocessing,
    compute: Compute = "float32",
    batch_size: int = 1,
    device: str = "cpu",
) -> tuple[int, ...]:
    """Return the positions of so many tokens, those that the head's cross-attention uses most.

    The attention is averaged over images, heads, queries and blocks of the head, and then over left
    and right, since faces are seen from both sides. Tokens that hold no pixel of an image, but the
    white around it, are the first to go.

    Args:
        model: One with all its tokens.
        samples: At least one; of more than ``MAX_IMAGES``, as many are taken, evenly spread.

    Raises:
        ImageError: If an image cannot be decoded.
    """
    use = mean_attention(
        model,
        pick_evenly(samples, MAX_IMAGES),
        preprocess=preprocess,
        compute=compute,
        batch_size=batch_size,
        device=device,
    ).reshape(config.grid_size)
    use = (use + use[:, ::-1]) / 2
    use[~holds_content(config, preprocess)] -= 1  # below every share of the attention
    order = np.argsort(-use.ravel(), kind="stable")
    return tuple(sorted(order[:count].tolist()))


def mean_attention(
    model: MotivNet,
    samples: Sequence[Sample],
    *,
    preprocess: Preprocessing,
    compute: Compute = "float32",
    batch_size: int = 1,
    device: str = "cpu",
) -> NDArray[np.float64]:
    """Return how much of the head's cross-attention each token gets ``(N,)``, 1 in all."""
    model = model.eval().to(device)
    total: Tensor | float = 0.0
    reduced = compute != "float32"
    with (
        torch.inference_mode(),
        torch.autocast(
            torch.device(device).type, dtype=DTYPES[compute] if reduced else None, enabled=reduced
        ),
        progress("finding the tokens to keep", total=len(samples)) as advance,
    ):
        for start in range(0, len(samples), batch_size):
            batch = samples[start : start + batch_size]
            images = np.stack(
                [preprocess(aligned(preprocess, sample.pixels())) for sample in batch]
            )
            tokens = model.encoder.tokens(torch.from_numpy(images).to(device))
            total = total + _attention(model.decoder, tokens).sum(dim=0)
            advance(len(batch))
    assert isinstance(total, Tensor)
    return np.asarray((total / len(samples)).cpu().numpy(), np.float64)


def holds_content(config: EncoderConfig, preprocess: Preprocessing) -> NDArray[np.bool_]:
    """Return which patches ``(rows, columns)`` hold a pixel of the image, and not white alone."""
    marked = np.zeros((*config.image_size, 1), np.bool_)
    preprocess.content(marked.view(np.uint8))[:] = 1
    margin, side = config.patch_padding, config.patch_size
    rows, columns = config.grid_size
    padded = np.pad(marked[..., 0], margin)[: rows * side, : columns * side]
    return np.asarray(padded.reshape(rows, side, columns, side).any(axis=(1, 3)))


def _attention(decoder: MLDecoder, tokens: Tensor) -> Tensor:
    """Return each token's share ``(B, N)`` of the attention, the mean of queries, heads, blocks."""
    memory = functional.relu(decoder.embed(tokens))  # (B, N, D)
    queries = decoder.queries.unsqueeze(0).expand(len(tokens), -1, -1)  # (B, Q, D)
    shares = []
    for block in decoder.blocks:
        assert isinstance(block, DecoderBlock)
        attention = block.attention
        query = split_heads(attention.query(block.norm1(queries)), attention.num_heads)
        key = split_heads(attention.key_value(memory).chunk(2, dim=-1)[0], attention.num_heads)
        scores = query.float() @ key.float().transpose(-2, -1) * attention.scale  # (B, heads, Q, N)
        shares.append(scores.softmax(dim=-1).mean(dim=(1, 2)))  # (B, N)
        queries = block(queries, memory)
    return torch.stack(shares).mean(dim=0).double()

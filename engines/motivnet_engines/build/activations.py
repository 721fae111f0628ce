"""How much GPU memory an engine reserves for activations, and from how much on its attention cannot
be fused.

The formulas follow what TensorRT-RTX 1.7 reported for SM 86 in 22 builds of small encoders (48 to
3,072 tokens, widths 96 to 768, batches 1 and 8, FP16, BF16 and FP32): from 1 % below to 39 % above,
mostly within 10 %. For sapiens-1b in FP16 at batch 1 they say 97 MB, and 94 were seen; for
sapiens-0.3b in FP32 1,295 MB, and 1,260 were seen. Depth does not matter, because one block's
buffers serve the next.
"""

from __future__ import annotations

from motivnet.artifact.manifest import Precision
from motivnet.config import ModelConfig

_BYTES: dict[Precision, int] = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 2, "fp8": 2}
"""What one number of an activation takes; between Q/DQ pairs activations are kept in half precision."""

_STREAM_BYTES = 4
"""The residual stream is FP32 in every precision."""

_SCRATCH = 8 << 20
"""What the smallest engines reserve whatever their batch."""

_PIXEL_BYTES = 4
"""For each pixel at the model's size; an image of any size is resized as it is read, whatever its size."""


def score_bytes(config: ModelConfig, *, precision: Precision, batch: int) -> int:
    """Bytes of one encoder attention's scores, ``(batch, heads, tokens, tokens)``.

    An attention that is not fused writes them to memory and reads them again for the softmax; a
    fused one never has them whole.
    """
    return batch * config.encoder.num_heads * _tokens(config) ** 2 * _BYTES[precision]


def activation_bytes(config: ModelConfig, *, precision: Precision, fused: bool, batch: int) -> int:
    """Expected bytes of activations of an engine whose profile ends at ``batch``.

    The larger of a block's two halves: the MLP holds its input, its hidden units and the residual
    stream twice; the attention holds queries, keys, values, its input, the stream and, unless it is
    fused, scores before and after the softmax.
    """
    width_bytes, numbers = _BYTES[precision], _tokens(config) * config.encoder.embed_dim
    hidden = _tokens(config) * config.encoder.mlp_dim
    mlp = width_bytes * (numbers + hidden) + 2 * _STREAM_BYTES * numbers
    attention = 5 * width_bytes * numbers + _STREAM_BYTES * numbers
    if not fused:
        attention += 2 * score_bytes(config, precision=precision, batch=1)
    height, width = config.encoder.image_size
    return _SCRATCH + batch * (max(mlp, attention) + height * width * _PIXEL_BYTES)


def unfused_bytes(config: ModelConfig, *, precision: Precision, batch: int) -> int | None:
    """Activations from which on an engine's attention cannot be fused; None where scores are too
    small to tell.

    They tell when they alone are more than twice what the whole fused engine needs, as at the
    published sizes: 453 MB of scores against 94 MB for sapiens-1b in FP16 at batch 1.
    """
    scores = score_bytes(config, precision=precision, batch=batch)
    fused = activation_bytes(config, precision=precision, fused=True, batch=batch)
    return scores if scores > 2 * fused else None


def _tokens(config: ModelConfig) -> int:
    rows, columns = config.encoder.grid_size
    return rows * columns

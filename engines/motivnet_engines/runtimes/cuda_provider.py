"""Options of ONNX Runtime's CUDA provider, for our runtime and for Triton's ONNX Runtime.

A module of its own: who writes Triton's configuration need not have ONNX Runtime.
"""

from __future__ import annotations

from motivnet.artifact.manifest import Manifest

_WIDEST_HEAD = 128
_PLAIN_KERNEL = "16"
"""``sdpa_kernel`` of the CUDA provider: attention as matrix products, without fused kernels.

Expected: correct results for the ``Attention`` of the published decoder in FP16, 7 queries of 8
heads of 144 on 3072 keys. Seen with 1.31.1 on an H100, without an error: results 120 % off in norm,
logits 0.15 off; correct with this kernel. With the default kernel, single nodes of the same lengths
with heads of 12 to 128 were correct.
"""


def cuda_provider_options(manifest: Manifest) -> dict[str, str]:
    """Return the options without which the CUDA provider computes this artifact's graph wrongly."""
    options = {"use_tf32": "0"}  # an FP32 graph is computed in float32, as the parity report says
    config = manifest.source.config
    head = max(part.embed_dim // part.num_heads for part in (config.encoder, config.decoder))
    if manifest.attention == "fused" and head > _WIDEST_HEAD:
        options["sdpa_kernel"] = _PLAIN_KERNEL
    return options

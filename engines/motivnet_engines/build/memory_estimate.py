"""The memory that a build and its engine need, and whether this machine has it.

It is checked before the build, so that the kernel does not kill it after an hour on a Jetson. The
formulas for activations follow what TensorRT-RTX 1.7 reported for SM 86 in 22 builds of small
encoders (48 to 3,072 tokens, widths 96 to 768, batch sizes 1 and 8, FP16, BF16 and FP32): from 1 %
below to 39 % above, and 3 % above for sapiens-1b in FP16 and sapiens-0.3b in FP32.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from motivnet.artifact.engine_entry import EngineBackend
from motivnet.artifact.manifest import Manifest
from motivnet.config import ModelConfig
from motivnet.errors import RuntimeUnavailableError
from motivnet.parity import Precision
from motivnet.processors import read_text
from motivnet_engines.build.options import EngineOptions
from motivnet_engines.system.machine import Machine, memory_from_meminfo

_ELEMENT_BYTES: dict[Precision, int] = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 2, "fp8": 2}
"""Of an activation; between Q/DQ pairs activations are kept in half precision."""

_STREAM_BYTES = 4
"""Of an element of the residual stream, which is FP32 in every precision."""

_PIXEL_BYTES = 4
"""For each pixel at the model's size: an image of any size is resized while it is read."""

_SCRATCH = 8 << 20
"""What the smallest engines reserve at any batch size."""

_ENGINE_BASE = 4_000_000
_ENGINE_BYTES_PER_BLOCK = 500_000
"""Kernels and tables; TensorRT-RTX 1.7 had 3.0 MB of them (one block) to 6.4 MB (six blocks)."""

_HOST_BASE: dict[EngineBackend, int] = {"tensorrt": 2_000_000_000, "tensorrt-rtx": 300_000_000}
_HOST_COPIES = 3
"""The process with its libraries; then the weights of the graph, of the network and of the engine.

Measured with TensorRT-RTX: 0.29 to 0.40 GB for weights of 1 to 34 MB, 7.3 GB for 2.32 GB, and
8.1 GB for 2.68 GB. TensorRT also holds CUDA and its kernels to choose from; its base is a guess
until a build is measured, whose ``build_peak_bytes`` the manifest records.
"""

_PICTURE_COPIES = 2
"""Of an image input in float32, after the cast and after the transposition.

TensorRT-RTX makes none: it fuses both with the resizing. TensorRT is not known to.
"""

_MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildEstimate:
    """Bytes of the engine's file, of its activations on the GPU, and of host memory at the peak.

    With ``streams_weights`` the engine may leave its weights in host memory.
    """

    engine_bytes: int
    activation_bytes: int
    host_peak_bytes: int
    streams_weights: bool = False

    @property
    def device_bytes(self) -> int:
        """The least GPU memory of one loaded engine with one execution context."""
        return self.activation_bytes + (0 if self.streams_weights else self.engine_bytes)


def estimate_build(manifest: Manifest, options: EngineOptions) -> BuildEstimate:
    """Estimate what an engine of this artifact needs, from its weights and the model's sizes.

    Attention in half precision is taken as fused, whether the graph has the operator or separate
    products, because TensorRT-RTX fuses both. In FP32 it is never fused.
    """
    weights, config = sum(manifest.graph.weight_bytes.values()), manifest.source.config
    profile = options.profile_for(manifest)
    activations = activation_bytes(
        config,
        precision=manifest.precision,
        fused=manifest.precision != "fp32",
        batch=profile.max_batch,
    )
    if options.backend == "tensorrt" and manifest.input.any_size:
        height, width = profile.max_size
        activations += _PICTURE_COPIES * profile.max_batch * height * width * 3 * 4
    return BuildEstimate(
        engine_bytes=weights + _ENGINE_BASE + _ENGINE_BYTES_PER_BLOCK * config.encoder.depth,
        activation_bytes=activations,
        host_peak_bytes=_HOST_BASE[options.backend] + _HOST_COPIES * weights,
        streams_weights=options.weight_streaming,
    )


def activation_bytes(config: ModelConfig, *, precision: Precision, fused: bool, batch: int) -> int:
    """Estimate the activations of an engine whose profile ends at ``batch``.

    Depth does not matter, because the buffers of one block are reused by the next, of which the
    larger half counts: the MLP holds its input, its hidden units and the residual
    stream twice; the attention holds queries, keys, values, its input, the stream and, unless it is
    fused, the scores before and after the softmax.
    """
    width_bytes, tokens = _ELEMENT_BYTES[precision], config.encoder.tokens
    numbers, hidden = tokens * config.encoder.embed_dim, tokens * config.encoder.mlp_dim
    mlp = width_bytes * (numbers + hidden) + 2 * _STREAM_BYTES * numbers
    attention = 5 * width_bytes * numbers + _STREAM_BYTES * numbers
    if not fused:
        attention += 2 * score_bytes(config, precision=precision, batch=1)
    height, width = config.encoder.image_size
    return _SCRATCH + batch * (max(mlp, attention) + height * width * _PIXEL_BYTES)


def score_bytes(config: ModelConfig, *, precision: Precision, batch: int) -> int:
    """Return the bytes of one encoder attention's scores, ``(batch, heads, tokens, tokens)``.

    Unfused attention writes them to memory and reads them again for the softmax; fused attention
    never holds all of them.
    """
    return batch * config.encoder.num_heads * config.encoder.tokens**2 * _ELEMENT_BYTES[precision]


def unfused_bytes(config: ModelConfig, *, precision: Precision, batch: int) -> int | None:
    """Return the activations from which on attention cannot be fused; None if they do not tell.

    They tell when the scores alone are more than twice what the whole fused engine needs, as at the
    published sizes: 453 MB of scores against 94 MB for sapiens-1b in FP16 at batch size 1.
    """
    scores = score_bytes(config, precision=precision, batch=batch)
    fused = activation_bytes(config, precision=precision, fused=True, batch=batch)
    return scores if scores > 2 * fused else None


def check_fits(
    estimate: BuildEstimate,
    machine: Machine,
    folder: Path,
    *,
    device_memory: int | None = None,
    shared_memory: bool = False,
) -> None:
    """Check that a build is likely to fit; what is unknown about the machine is not checked.

    Args:
        folder: Where the engine will be written; it need not exist yet.
        device_memory: Bytes of the GPU that builds; None for TensorRT-RTX, which needs none.
        shared_memory: Whether that memory is the host's too, as on a Jetson.

    Raises:
        RuntimeUnavailableError: With each shortage and what to do about it.
    """
    problems = []
    memory, peak, what = _usable_memory(machine), estimate.host_peak_bytes, "memory"
    if shared_memory and device_memory is not None:
        peak, what = peak + estimate.device_bytes, "memory, which the GPU shares,"
    if memory is not None and memory < peak:
        problems.append(
            f"it takes about {_gigabytes(peak)} of {what} and "
            f"{_gigabytes(memory)} are available; close other programs, add swap, or build a "
            "smaller model or precision"
        )
    free = _free_disk(folder)
    if free is not None and free < estimate.engine_bytes:
        problems.append(
            f"the engine takes about {_gigabytes(estimate.engine_bytes)} and the disk of {folder} "
            f"has {_gigabytes(free)}; free some, or choose another --out"
        )
    if device_memory is not None and device_memory < estimate.device_bytes:
        streaming = "" if estimate.streams_weights else ", or add --weight-streaming"
        problems.append(
            f"the engine takes about {_gigabytes(estimate.device_bytes)} of GPU memory and the GPU "
            f"has {_gigabytes(device_memory)}; lower --max-batch{streaming}"
        )
    if problems:
        raise RuntimeUnavailableError(
            f"the build would not fit this machine: {'; '.join(problems)}"
        )


def free_swap() -> int:
    """Return the bytes of free swap, which a build on a Jetson may need; 0 if unknown."""
    return memory_from_meminfo(read_text(_MEMINFO), "SwapFree") or 0


def _usable_memory(machine: Machine) -> int | None:
    sizes = [machine.memory_limit]
    if machine.memory_available is not None:
        sizes.append(machine.memory_available + free_swap())
    return min((size for size in sizes if size is not None), default=None)


def _free_disk(folder: Path) -> int | None:
    absolute = folder.absolute()
    try:
        existing = next(parent for parent in (absolute, *absolute.parents) if parent.exists())
        return shutil.disk_usage(existing).free
    except OSError:  # a file system that does not tell is no reason to refuse
        return None


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"

"""What a manifest says of a compiled engine: what built it, for what, and what it is made of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from motivnet.errors import ArtifactError
from motivnet.parity import AttentionForm, Comparison, Precision

EngineBackend = Literal["tensorrt", "tensorrt-rtx"]
ENGINE_BACKENDS: tuple[EngineBackend, ...] = ("tensorrt", "tensorrt-rtx")
ProofEvidence = Literal["inspector", "compiler", "network"]
HardwareCompatibility = Literal["none", "ampere-plus", "same-compute-capability"]

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapeProfile:
    """The batches that an engine was built for and, where the input has any size, its (height, width)."""

    min_batch: int
    opt_batch: int
    max_batch: int
    min_size: tuple[int, int]
    opt_size: tuple[int, int]
    max_size: tuple[int, int]

    def __post_init__(self) -> None:
        axes = zip(
            (self.min_batch, *self.min_size),
            self._opt,
            (self.max_batch, *self.max_size),
            strict=True,
        )
        if not all(1 <= low <= best <= high for low, best, high in axes):
            raise ArtifactError("the engine's profile is not ordered: 1 <= min <= opt <= max")

    @property
    def _opt(self) -> tuple[int, ...]:
        return self.opt_batch, *self.opt_size


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineDevice:
    """The GPU of a build: its name, compute capability such as ``8.6``, memory in bytes, and the driver's version."""

    name: str
    compute_capability: str
    memory: int
    driver: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineProof:
    """What an engine is made of, and where that was read.

    ``inspector``: in the built engine, on its GPU. ``compiler``: in the compiler's own list of the
    layers that it made. ``network``: in the parsed network alone, before compilation.
    ``matrix_layers`` counts the layers that multiply matrices by dtype; ``attention_fused`` those
    of the ``attention_layers`` that became one kernel each, or None where the evidence does not
    show it. ``activation_bytes`` is what the builder reserves for activations.
    """

    evidence: ProofEvidence
    layers: int
    matrix_layers: dict[str, int]
    attention_layers: int
    attention_fused: int | None
    activation_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineEntry:
    """A compiled engine of the artifact: what built it, for what, out of which graph, and what it
    is made of.

    ``version`` is the builder's. ``compute_capabilities`` are those asked of TensorRT-RTX, such as
    ``86``; empty means its portable default (Ampere and later). ``device`` is the GPU of the build,
    None without one. ``comparison`` is the verdict on the device, None until the engine has run
    once.
    """

    backend: EngineBackend
    path: str
    onnx_sha256: str
    version: str
    platform: str
    precision: Precision
    attention: AttentionForm
    compute_capabilities: tuple[str, ...]
    device: EngineDevice | None
    profile: ShapeProfile
    hardware_compatibility: HardwareCompatibility
    version_compatible: bool
    weight_streaming: bool
    build_seconds: float
    build_peak_bytes: int
    proof: EngineProof
    comparison: Comparison | None = None

    def __post_init__(self) -> None:
        if not _SHA256.fullmatch(self.onnx_sha256):
            raise ArtifactError("the SHA-256 of the engine's graph in the manifest is not valid")

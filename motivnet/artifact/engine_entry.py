"""What a manifest says about a compiled engine: what built it, for what, and what is in it."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from motivnet.errors import ArtifactError
from motivnet.parity import AttentionForm, Comparison, Precision
from motivnet.schema import Schema

EngineBackend = Literal["tensorrt", "tensorrt-rtx"]
EngineEvidence = Literal["inspector", "compiler", "network"]
HardwareCompatibility = Literal["none", "ampere-plus", "same-compute-capability"]

Sha256: TypeAlias = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
"""Hexadecimal, in lower case."""


class ShapeProfile(Schema, frozen=True, kw_only=True):
    """The batch sizes and image sizes (height, width) that an engine was built for.

    The three image sizes are the same unless the engine takes images of any size.
    """

    min_batch: int
    opt_batch: int
    max_batch: int
    min_size: tuple[int, int]
    opt_size: tuple[int, int]
    max_size: tuple[int, int]

    def __post_init__(self) -> None:
        low = (self.min_batch, *self.min_size)
        best = (self.opt_batch, *self.opt_size)
        high = (self.max_batch, *self.max_size)
        if not all(1 <= a <= b <= c for a, b, c in zip(low, best, high, strict=True)):
            raise ArtifactError("the engine's profile is not ordered: 1 <= min <= opt <= max")


class EngineDevice(Schema, frozen=True, kw_only=True):
    """The GPU of a build: compute capability such as ``8.6``, memory in bytes, driver version."""

    name: str
    compute_capability: str
    memory: int
    driver: str


class EngineReport(Schema, frozen=True, kw_only=True):
    """What is in an engine, and where that was read.

    Attributes:
        evidence: ``inspector``: the built engine, on its GPU. ``compiler``: the compiler's own list
            of the layers that it made. ``network``: the parsed network, before compilation.
        layers: Number of layers.
        matrix_layers: Number of layers that multiply matrices, by dtype.
        attention_layers: Number of attention layers.
        attention_fused: How many of them became one kernel each; None if unknown.
        activation_bytes: Memory that the builder reserves for activations.
    """

    evidence: EngineEvidence
    layers: int
    matrix_layers: dict[str, int]
    attention_layers: int
    attention_fused: int | None
    activation_bytes: int | None


class EngineEntry(Schema, frozen=True, kw_only=True):
    """A compiled engine of the artifact.

    Attributes:
        onnx_sha256: Hash of the graph that it was built from.
        version: Version of the builder.
        compute_capabilities: Those asked of TensorRT-RTX, such as ``86``; empty means its portable
            default (Ampere and later).
        device: The GPU of the build, None if it was built without one.
        comparison: Its outputs against PyTorch, None until it has run on a device.
    """

    backend: EngineBackend
    path: str
    onnx_sha256: Sha256
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
    report: EngineReport
    comparison: Comparison | None = None

"""How precise an artifact is and how close to PyTorch: the terms of every comparison, and the verdict of a build."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Precision = Literal["fp32", "fp16", "bf16", "int8", "fp8"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "bf16", "int8", "fp8")
COMPUTE_DTYPES: dict[Precision, str] = {
    "fp32": "float32",
    "fp16": "float16",
    "bf16": "bfloat16",
    "int8": "int8",
    "fp8": "float8e4m3fn",
}
"""The dtype in which an artifact of each precision multiplies matrices, on hardware that has it."""

AttentionForm = Literal["fused", "decomposed"]
Evidence = Literal["graph", "rounding", "runtime"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One backend against PyTorch FP32 over the same images.

    ``evidence`` says what the comparison shows: ``graph`` (the exported graph computes the model), ``rounding``
    (PyTorch's own arithmetic in the artifact's precision), ``runtime`` (this runtime computes the model on the
    machine of the build). The embedding is compared by cosine; the smallest over the images is given.
    """

    backend: str
    compute: str
    evidence: Evidence
    images: int
    logit_cosine: float
    logit_max_abs: float
    probability_max_abs: float
    top1_agreement: float
    embedding_cosine: float
    seconds_per_image: float
    failures: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every figure is within its tolerance."""
        return not self.failures


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockActivation:
    """Largest magnitudes seen in one block: on the FP32 residual stream, and in what the precision applies to."""

    block: str
    stream: float
    compute: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityReport:
    """The verdict of a build."""

    passed: bool
    images: int
    image_source: str
    comparisons: tuple[Comparison, ...]
    activations: tuple[BlockActivation, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One rung of the ladder that was tried and given up, with the reason."""

    precision: Precision
    reason: str
    attention: AttentionForm | None = None

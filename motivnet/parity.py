"""How precise an artifact is and how close to PyTorch: the terms of a parity report, the tolerances, the comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from motivnet.prediction import softmax

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

    ``evidence`` says what the comparison shows: ``graph`` (the exported graph computes the model),
    ``rounding`` (PyTorch's own arithmetic in the artifact's precision), ``runtime`` (this runtime
    computes the model on the machine of the build). The embedding is compared by cosine; the
    smallest over the images is given.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Logits ``(images, classes)`` and embeddings ``(images, width)`` of the same images, and how long they took."""

    logits: NDArray[np.float32]
    embedding: NDArray[np.float32]
    seconds_per_image: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """The furthest that outputs may be from PyTorch FP32.

    Logits may differ by ``logit`` times the largest reference logit, or by ``logit`` where that is
    below one. Two classes whose FP32 probabilities differ by less than ``probability`` are a tie:
    either may come first.
    """

    cosine: float
    logit: float
    probability: float
    top1: float


TOLERANCES: dict[Precision, Tolerance] = {
    "fp32": Tolerance(cosine=0.99999, logit=1e-3, probability=5e-4, top1=1.0),
    "fp16": Tolerance(cosine=0.9995, logit=2e-2, probability=1e-2, top1=0.99),
    "bf16": Tolerance(cosine=0.995, logit=1e-1, probability=5e-2, top1=0.97),
    "int8": Tolerance(cosine=0.99, logit=1e-1, probability=1e-1, top1=0.97),
    "fp8": Tolerance(cosine=0.98, logit=2e-1, probability=2e-1, top1=0.95),
}
"""The cosine is for logits and embeddings; each is the smallest over the images."""


def compare(
    backend: str,
    actual: Outputs,
    reference: Outputs,
    *,
    compute: str,
    evidence: Evidence,
    precision: Precision,
) -> Comparison:
    """A backend's outputs beside PyTorch FP32's, with the tolerances of a precision that they break."""
    figures = {
        "logit_cosine": _smallest_cosine(actual.logits, reference.logits),
        "logit_max_abs": _largest_difference(actual.logits, reference.logits),
        "probability_max_abs": _largest_difference(
            _probabilities(actual.logits), softmax(reference.logits)
        ),
        "top1_agreement": _top1_agreement(
            actual.logits, reference.logits, tie=TOLERANCES[precision].probability
        ),
        "embedding_cosine": _smallest_cosine(actual.embedding, reference.embedding),
    }
    scale = max(1.0, float(np.abs(reference.logits).max()))
    return Comparison(
        backend=backend,
        compute=compute,
        evidence=evidence,
        images=len(reference.logits),
        seconds_per_image=actual.seconds_per_image,
        failures=_broken(figures, TOLERANCES[precision], scale),
        **figures,
    )


def _broken(figures: dict[str, float], tolerance: Tolerance, scale: float) -> tuple[str, ...]:
    """Each broken tolerance as a sentence; a figure that is not a number breaks it too."""
    floors = {
        "logit_cosine": tolerance.cosine,
        "embedding_cosine": tolerance.cosine,
        "top1_agreement": tolerance.top1,
    }
    ceilings = {
        "logit_max_abs": tolerance.logit * scale,
        "probability_max_abs": tolerance.probability,
    }
    low = [
        f"{name} {figures[name]:.6g} < {floor:.6g}"
        for name, floor in floors.items()
        if not figures[name] >= floor
    ]
    high = [
        f"{name} {figures[name]:.3g} > {top:.3g}"
        for name, top in ceilings.items()
        if not figures[name] <= top
    ]
    return (*low, *high)


def _probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """The softmax; NaN, without a warning, where a logit is not finite."""
    with np.errstate(invalid="ignore"):
        return softmax(logits)


def _smallest_cosine(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """The smallest cosine of two rows of the same index; -1 where a row is zero or not finite."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    with np.errstate(all="ignore"):
        cosines = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return float(np.nan_to_num(np.clip(cosines, -1, 1), nan=-1.0).min())


def _largest_difference(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """The largest absolute difference; the largest float where an element is not finite, as JSON has no infinity."""
    with np.errstate(all="ignore"):
        largest = np.abs(first.astype(np.float64) - second.astype(np.float64)).max()
    return float(largest) if np.isfinite(largest) else float(np.finfo(np.float64).max)


def _top1_agreement(
    actual: NDArray[np.float32], reference: NDArray[np.float32], *, tie: float
) -> float:
    """Share of images whose likeliest class is the reference's, or tied with it in the reference."""
    probabilities = softmax(reference)
    rows = np.arange(len(reference))
    chosen = probabilities[rows, actual.argmax(axis=1)]
    agrees = (probabilities.max(axis=1) - chosen <= tie) & np.isfinite(actual).all(axis=1)
    return float(agrees.mean())

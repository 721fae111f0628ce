"""How precise an artifact is and how close to PyTorch: tolerances, comparison, parity report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from motivnet.prediction import softmax
from motivnet.schema import Schema

Precision = Literal["fp32", "fp16", "bf16", "int8", "fp8"]
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


class Comparison(Schema, frozen=True, kw_only=True):
    """One backend against PyTorch FP32 over the same images.

    Cosines are the smallest, differences the largest over the images.

    Attributes:
        evidence: What the comparison shows. ``graph``: the exported graph computes the model.
            ``rounding``: the effect of PyTorch's own arithmetic in the artifact's precision.
            ``runtime``: this runtime computes the model on the machine of the build.
        failures: Each tolerance that is exceeded, as a sentence.
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
        """Whether everything is within its tolerance."""
        return not self.failures


class BlockActivation(Schema, frozen=True, kw_only=True):
    """The largest magnitudes in one block.

    Attributes:
        stream: On the FP32 residual stream.
        compute: In what the precision applies to.
    """

    block: str
    stream: float
    compute: float


class ParityReport(Schema, frozen=True, kw_only=True):
    """The comparisons of a build, and whether all of them passed."""

    passed: bool
    images: int
    image_source: str
    comparisons: tuple[Comparison, ...]
    activations: tuple[BlockActivation, ...]
    warnings: tuple[str, ...]


class Attempt(Schema, frozen=True, kw_only=True):
    """A precision that a build tried before it fell back to another one, and why it failed."""

    precision: Precision
    reason: str
    attention: AttentionForm | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Logits ``(images, classes)`` and embeddings ``(images, width)`` of the same images."""

    logits: NDArray[np.float32]
    embedding: NDArray[np.float32]
    seconds_per_image: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far outputs may be from PyTorch FP32.

    Attributes:
        cosine: The least cosine of logits and of embeddings, for every image.
        logit: The largest difference of logits, relative to the largest reference logit, or
            absolute if that is below one.
        probability: The largest difference of probabilities. Two classes whose FP32 probabilities
            differ by less are a tie: either may come first.
        top1: The least share of images with the same top class.
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


def compare(
    backend: str,
    actual: Outputs,
    reference: Outputs,
    *,
    compute: str,
    evidence: Evidence,
    precision: Precision,
) -> Comparison:
    """Compare a backend's outputs with PyTorch FP32's by the tolerances of a precision."""
    tolerance = TOLERANCES[precision]
    with np.errstate(invalid="ignore"):  # of logits that are not finite
        probabilities = softmax(actual.logits)
    agreements = {
        "logit_cosine": _smallest_cosine(actual.logits, reference.logits),
        "embedding_cosine": _smallest_cosine(actual.embedding, reference.embedding),
        "top1_agreement": _top1_agreement(
            actual.logits, reference.logits, tie=tolerance.probability
        ),
    }
    lowest = (tolerance.cosine, tolerance.cosine, tolerance.top1)
    differences = {
        "logit_max_abs": _largest_difference(actual.logits, reference.logits),
        "probability_max_abs": _largest_difference(probabilities, softmax(reference.logits)),
    }
    scale = max(1.0, float(np.abs(reference.logits).max()))
    highest = (tolerance.logit * scale, tolerance.probability)
    # "not >=" and "not <=" also fail for what is not a number.
    failures = [
        f"{name} {value:.6g} < {limit:.6g}"
        for (name, value), limit in zip(agreements.items(), lowest, strict=True)
        if not value >= limit
    ] + [
        f"{name} {value:.3g} > {limit:.3g}"
        for (name, value), limit in zip(differences.items(), highest, strict=True)
        if not value <= limit
    ]
    return Comparison(
        backend=backend,
        compute=compute,
        evidence=evidence,
        images=len(reference.logits),
        seconds_per_image=actual.seconds_per_image,
        failures=tuple(failures),
        **agreements,
        **differences,
    )


def _smallest_cosine(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return the smallest cosine of corresponding rows; -1 if a row is zero or not finite."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    with np.errstate(all="ignore"):
        cosines = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return float(np.nan_to_num(np.clip(cosines, -1, 1), nan=-1.0).min())


def _largest_difference(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Return the largest absolute difference; the largest float if one is not finite, for JSON."""
    with np.errstate(all="ignore"):
        largest = np.abs(first.astype(np.float64) - second.astype(np.float64)).max()
    return float(largest) if np.isfinite(largest) else float(np.finfo(np.float64).max)


def _top1_agreement(
    actual: NDArray[np.float32], reference: NDArray[np.float32], *, tie: float
) -> float:
    """Return the share of images with the reference's top class, or one tied with it there."""
    probabilities = softmax(reference)
    rows = np.arange(len(reference))
    chosen = probabilities[rows, actual.argmax(axis=1)]
    agrees = (probabilities.max(axis=1) - chosen <= tie) & np.isfinite(actual).all(axis=1)
    return float(agrees.mean())

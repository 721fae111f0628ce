"""The verdict of a build: PyTorch in FP32 on one side, everything that the artifact will be on the
other.

Three kinds of evidence, and the report says which is which. ``graph``: a runtime that computes in
FP32 shows that the exported graph is the model. ``rounding``: PyTorch's own half arithmetic shows
what the precision costs; ONNX Runtime on a CPU computes FP16 nodes in FP32 and cannot show it.
``runtime``: a runtime that computes in a lower precision of its own, such as OpenVINO in BF16,
shows what it gives on this machine; if it fails, that runtime is not used by default, and the
artifact stands.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from motivnet.artifact import Artifact
from motivnet.artifact.manifest import BlockActivation, Comparison, ParityReport, Precision
from motivnet.errors import MissingDependencyError, MotivNetError, ParityError
from motivnet.model import MotivNet
from motivnet.parity import Outputs, compare
from motivnet.preprocess import InputRecipe
from motivnet_engines.runtimes.registry import installed_runtimes
from motivnet_engines.verification.parity_run import Forward, comparison_of, outputs_of
from motivnet_export.activations import FAIL_ABOVE, WARN_ABOVE, recording
from motivnet_export.parity_images import GateImages
from motivnet_export.precision import COMPUTE_NAMES, HALF_RANGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What PyTorch in FP32 says of the gate's images, and how large its activations are."""

    images: GateImages
    outputs: Outputs
    activations: tuple[BlockActivation, ...]


def reference_of(model: MotivNet, images: GateImages, recipe: InputRecipe) -> Reference:
    """Runs the FP32 model on the gate's images.

    Raises:
        MotivNetError: If its outputs are not finite; nothing can be compared with them.
    """
    with recording(model) as record:
        outputs = outputs_of(_torch_forward(model, recipe), images.pixels, what="PyTorch FP32")
    if not (np.isfinite(outputs.logits).all() and np.isfinite(outputs.embedding).all()):
        raise MotivNetError("the model gives NaN or infinity in FP32; its weights are not usable")
    return Reference(images=images, outputs=outputs, activations=record.blocks())


def rounding_of(
    model: MotivNet, reference: Reference, recipe: InputRecipe, *, precision: Precision
) -> tuple[Comparison, ...]:
    """PyTorch in the artifact's precision beside PyTorch in FP32, both on the CPU; nothing where both are FP32."""
    if precision == "fp32":
        return ()
    outputs = outputs_of(
        _torch_forward(model, recipe),
        reference.images.pixels,
        what=f"PyTorch in {COMPUTE_NAMES[precision]}",
    )
    row = compare(
        "pytorch",
        outputs,
        reference.outputs,
        compute=COMPUTE_NAMES[precision],
        evidence="rounding",
        precision=precision,
    )
    return (row,)


def runtimes_of(
    artifact: Artifact, reference: Reference, *, trust_engines: bool = False
) -> tuple[list[Comparison], list[str]]:
    """Every installed runtime beside PyTorch in FP32, and a sentence for each that cannot run the
    artifact.

    Raises:
        MissingDependencyError: If no runtime is installed.
        ParityError: If none of those that are can run this precision here.
    """
    names = installed_runtimes(artifact, trust_engines=trust_engines)
    if not names and not any(
        importlib.util.find_spec(package) for package in ("onnxruntime", "openvino")
    ):
        raise MissingDependencyError("onnxruntime or openvino", extra="cpu")
    if not names:
        precision = artifact.manifest.precision
        raise ParityError(
            f"no installed runtime runs {precision} here, so it cannot be judged; pip install openvino"
        )
    rows, refusals = [], []
    for name in names:
        try:
            rows.append(comparison_of(name, artifact, reference.images.pixels, reference.outputs))
        except MotivNetError as error:
            refusals.append(f"{name} cannot run this artifact: {error}")
    return rows, refusals


def verdict(
    reference: Reference,
    comparisons: Sequence[Comparison],
    *,
    refusals: Sequence[str],
    precision: Precision,
) -> ParityReport:
    """All comparisons in one report; a runtime that fails in a precision of its own is a warning."""
    graph_shown = any(row.evidence == "graph" for row in comparisons)
    warnings = [*activation_warnings(reference.activations, precision), *refusals]
    warnings += [
        f"{row.backend} is not used by default: {'; '.join(row.failures)}"
        for row in comparisons
        if row.evidence == "runtime" and not row.passed
    ]
    return ParityReport(
        passed=graph_shown and all(row.passed for row in comparisons if row.evidence != "runtime"),
        images=len(reference.images.pixels),
        image_source=reference.images.source,
        comparisons=tuple(comparisons),
        activations=reference.activations,
        warnings=tuple(warnings),
    )


def overflow_of(reference: Reference, precision: Precision) -> str | None:
    """Why the activations do not fit the precision, or None where they do."""
    if precision not in HALF_RANGE:
        return None
    worst = max(reference.activations, key=lambda block: block.compute)
    if worst.compute <= FAIL_ABOVE:
        return None
    return f"activations of {worst.block} reach {worst.compute:.3g}, above the {FAIL_ABOVE:.0e} that FP16 holds safely"


def activation_warnings(
    activations: tuple[BlockActivation, ...], precision: Precision
) -> list[str]:
    """Sentences on blocks whose numbers come near the end of FP16."""
    if precision not in HALF_RANGE:
        return []
    worst_compute = max(activations, key=lambda block: block.compute)
    worst_stream = max(activations, key=lambda block: block.stream)
    warnings = []
    if worst_compute.compute > WARN_ABOVE:
        warnings.append(
            f"activations of {worst_compute.block} reach {worst_compute.compute:.3g}; FP16 ends at 65504"
        )
    if worst_stream.stream > WARN_ABOVE:
        overflows = worst_stream.stream > FAIL_ABOVE
        warnings.append(
            f"the residual stream reaches {worst_stream.stream:.3g} in {worst_stream.block}: a network all in FP16 "
            f"{'would overflow' if overflows else 'would be near its end'}, the FP32 stream of this one holds it"
        )
    return warnings


def failure_line(report: ParityReport) -> str:
    """Why a report did not pass, in one line."""
    failed = [
        f"{row.backend} ({row.evidence}): {', '.join(row.failures)}"
        for row in report.comparisons
        if row.failures
    ]
    return "; ".join(failed) or "no installed runtime could show that the graph is the model"


def _torch_forward(model: MotivNet, recipe: InputRecipe) -> Forward:
    def forward(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        with torch.inference_mode():
            logits, embedding = model.logits_and_embedding(
                torch.from_numpy(recipe.normalise(pixels))
            )
        return logits.float().numpy(), embedding.float().numpy()

    return forward

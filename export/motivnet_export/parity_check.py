"""The parity report of a build: PyTorch in FP32 beside everything that the artifact will run on.

Evidence ``graph``: a runtime in FP32 shows that the exported graph is the model. ``rounding``:
PyTorch with every product rounded to half shows what the precision costs; ONNX Runtime on a CPU
computes FP16 nodes in FP32 and cannot show it. ``runtime``: one that computes in a lower precision
than the artifact's, such as OpenVINO in BF16, is not used by default if it fails; the artifact
still passes.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from motivnet.artifact import Artifact
from motivnet.errors import MissingDependencyError, MotivNetError, ParityError
from motivnet.model import MotivNet
from motivnet.parity import (
    COMPUTE_DTYPES,
    BlockActivation,
    Comparison,
    Outputs,
    ParityReport,
    Precision,
    compare,
)
from motivnet.preprocess import Preprocessing
from motivnet_engines.runtimes.selection import installed_runtimes
from motivnet_engines.system.machine import computes_natively
from motivnet_engines.verification.parity_run import Forward, collect_outputs, compare_runtime
from motivnet_export.parity_images import ImageSet
from motivnet_export.precision import (
    FAIL_ABOVE,
    HALF_RANGE,
    TORCH_DTYPES,
    WARN_ABOVE,
    record_activations,
)
from motivnet_export.rounding import SimulatedHalf

_CANNOT_RUN = "cannot run this artifact"
_JUDGE = "to compare it in FP32 too: pip install 'motivnet[judge]'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The outputs of PyTorch in FP32 for the images, and how large its activations are."""

    images: ImageSet
    outputs: Outputs
    activations: tuple[BlockActivation, ...]


def compute_reference(model: MotivNet, images: ImageSet, preprocessing: Preprocessing) -> Reference:
    """Run the FP32 model on the images.

    Raises:
        MotivNetError: If its outputs are not finite: nothing can be compared with them.
    """
    with record_activations(model) as record:
        outputs = collect_outputs(
            _torch_forward(model, preprocessing),
            images.pixels,
            what=f"PyTorch in FP32 on {_count_text(images.pixels)}",
        )
    if not (np.isfinite(outputs.logits).all() and np.isfinite(outputs.embedding).all()):
        raise MotivNetError("the model gives NaN or infinity in FP32; its weights are not usable")
    return Reference(images=images, outputs=outputs, activations=record.blocks())


def compare_rounding(
    model: MotivNet,
    reference: Reference,
    preprocessing: Preprocessing,
    *,
    precision: Precision,
    exact: bool = False,
) -> tuple[Comparison, ...]:
    """Compare PyTorch in the artifact's precision with FP32, both on the CPU; nothing for FP32.

    Args:
        exact: Compute in PyTorch's own half arithmetic, which takes many times as long where the
            processor has no instructions for it. Otherwise it is simulated in FP32.
    """
    if precision == "fp32":
        return ()
    compute = str(TORCH_DTYPES[precision]).removeprefix("torch.")
    pixels = reference.images.pixels
    what = f"PyTorch in {compute} on {_count_text(pixels)}"
    if exact and not computes_natively(compute):
        what += ", emulated by this processor"
    with contextlib.nullcontext() if exact else SimulatedHalf():
        outputs = collect_outputs(_torch_forward(model, preprocessing), pixels, what=what)
    compute += "" if exact else ", simulated"
    row = compare(
        "pytorch",
        outputs,
        reference.outputs,
        compute=compute,
        evidence="rounding",
        precision=precision,
    )
    return (row,)


def compare_runtimes(
    artifact: Artifact, reference: Reference, *, trust_engines: bool = False
) -> tuple[list[Comparison], list[str]]:
    """Compare every installed runtime with PyTorch in FP32; a sentence for each that cannot run.

    Raises:
        MissingDependencyError: If no runtime is installed.
        ParityError: If none of the installed ones can run this precision here.
    """
    names = installed_runtimes(artifact, trust_engines=trust_engines)
    if not names and not any(map(importlib.util.find_spec, ("onnxruntime", "openvino"))):
        raise MissingDependencyError("onnxruntime or openvino", extra="cpu")
    if not names:
        raise ParityError(
            f"no installed runtime runs {artifact.manifest.precision} here, so it cannot be "
            "compared; pip install 'motivnet[judge]'"
        )
    rows, problems = [], []
    for name in names:
        try:
            rows.append(compare_runtime(name, artifact, reference.images.pixels, reference.outputs))
        except MotivNetError as error:
            problems.append(f"{name} {_CANNOT_RUN}: {error}")
    return rows, problems


def make_report(
    reference: Reference,
    comparisons: Sequence[Comparison],
    *,
    problems: Sequence[str],
    precision: Precision,
) -> ParityReport:
    """Return all comparisons in one report; a failure of evidence ``runtime`` is a warning.

    Where no runtime computes the graph in FP32, one that passes in the artifact's own dtype shows
    the graph too: ONNX Runtime has no BF16 on the CPU, and a GPU machine may have no OpenVINO.
    """
    shows_graph = any(row.evidence == "graph" for row in comparisons)
    warnings = [*activation_warnings(reference.activations, precision), *problems]
    if not shows_graph and (own := _passed_in_own_dtype(comparisons, precision)):
        shows_graph = True
        warnings.append(
            f"the graph was compared in {own.compute} alone, by {own.backend}; {_JUDGE}"
        )
    warnings += [
        f"{row.backend} is not used by default: {'; '.join(row.failures)}"
        for row in comparisons
        if row.evidence == "runtime" and not row.passed
    ]
    return ParityReport(
        passed=shows_graph and all(row.passed for row in comparisons if row.evidence != "runtime"),
        images=len(reference.images.pixels),
        image_source=reference.images.source,
        comparisons=tuple(comparisons),
        activations=reference.activations,
        warnings=tuple(warnings),
    )


def check_overflow(reference: Reference, precision: Precision) -> None:
    """Refuse a precision that does not hold the activations.

    Raises:
        ParityError: Naming the block with the largest activation.
    """
    worst = max(reference.activations, key=lambda block: block.compute)
    if precision in HALF_RANGE and worst.compute > FAIL_ABOVE:
        raise ParityError(
            f"activations of {worst.block} reach {worst.compute:.3g}, above the {FAIL_ABOVE:.0e} "
            "that FP16 holds safely"
        )


def activation_warnings(
    activations: tuple[BlockActivation, ...], precision: Precision
) -> list[str]:
    """Return sentences on blocks whose numbers come near the end of FP16."""
    if precision not in HALF_RANGE:
        return []
    in_layers = max(activations, key=lambda block: block.compute)
    on_stream = max(activations, key=lambda block: block.stream)
    warnings = []
    if in_layers.compute > WARN_ABOVE:
        warnings.append(
            f"activations of {in_layers.block} reach {in_layers.compute:.3g}; FP16 ends at 65504"
        )
    if on_stream.stream > WARN_ABOVE:
        overflow = "overflow" if on_stream.stream > FAIL_ABOVE else "be near its end"
        warnings.append(
            f"the residual stream reaches {on_stream.stream:.3g} in {on_stream.block}: a network "
            f"all in FP16 would {overflow}, the FP32 stream of this one holds it"
        )
    return warnings


def describe_failure(report: ParityReport) -> str:
    """Return why a report did not pass, in one line."""
    failed = [
        f"{row.backend} ({row.evidence}): {', '.join(row.failures)}"
        for row in report.comparisons
        if row.failures
    ]
    shown = {row.evidence for row in report.comparisons}
    if not failed or ("runtime" in shown and "graph" not in shown):
        reasons = [text for text in report.warnings if _CANNOT_RUN in text]
        advice = "pip install 'motivnet[judge]', which brings OpenVINO"
        failed.append(
            "no installed runtime could show that the graph is the model; "
            f"{'; '.join(reasons) or advice}"
        )
    return "; ".join(failed)


def _passed_in_own_dtype(rows: Sequence[Comparison], precision: Precision) -> Comparison | None:
    own = COMPUTE_DTYPES[precision]
    fitting = (row for row in rows if row.evidence == "runtime" and row.compute == own)
    return next((row for row in fitting if row.passed), None)


def _count_text(pixels: NDArray[np.uint8]) -> str:
    return "1 image" if len(pixels) == 1 else f"{len(pixels)} images"


def _torch_forward(model: MotivNet, preprocessing: Preprocessing) -> Forward:
    def forward(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        with torch.inference_mode():
            logits, embedding = model.logits_and_embedding(
                torch.from_numpy(preprocessing.normalise(pixels))
            )
        return logits.float().numpy(), embedding.float().numpy()

    return forward

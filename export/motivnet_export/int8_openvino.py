"""INT8 for OpenVINO on this processor, kept only if it is close to PyTorch, fused, and faster.

Two variants are quantised from the FP32 graph, without and with SmoothQuant, which helps some
models and hurts others. The one closer to PyTorch is kept if OpenVINO computes its linear layers in
int8 and its attentions as it does those of the FP32 graph, and if it is faster than every other
runtime of OpenVINO with the FP32 graph.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import onnx_ir as ir
from numpy.typing import NDArray

from motivnet.artifact import Artifact
from motivnet.artifact.manifest import Manifest
from motivnet.artifact.quantisation import Quantisation, QuantisedVariant, SpeedComparison
from motivnet.errors import ExportError, ParityError
from motivnet.parity import Comparison, Precision
from motivnet_engines.runtimes.openvino_ import OpenVINORuntime, has_bf16
from motivnet_engines.runtimes.openvino_layers import CompiledLayers
from motivnet_engines.verification.parity_run import compare_runtime
from motivnet_engines.verification.speed import OpenedBy, compare_speed
from motivnet_export.graph import save_onnx
from motivnet_export.parity_check import (
    Reference,
    compare_runtimes,
    describe_failure,
    make_report,
)
from motivnet_export.quantise.nncf_quantise import quantise_for_openvino
from motivnet_export.quantise.quantise import encoder_products

Describe = Callable[[Precision, Sequence[Path], ir.Model], Manifest]
"""The manifest of an artifact in a precision, of these files and this graph, not compared yet."""

_MODEL = "model.onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8Job:
    """What is quantised in ``workspace``.

    Attributes:
        base: The graph in FP32.
        images: Inputs of the graph that the ranges are measured on.
        describe: Gives the manifest of each artifact that is compared.
    """

    base: ir.Model
    workspace: Path
    images: NDArray[Any]
    reference: Reference
    describe: Describe


@dataclass(frozen=True, slots=True, kw_only=True)
class _Variant:
    artifact: Artifact
    tool: str
    smooth_quant: bool
    comparison: Comparison

    @property
    def error(self) -> float:
        """The largest difference of logits from PyTorch FP32."""
        return self.comparison.logit_max_abs


def build_int8(job: Int8Job, *, warnings: Sequence[str] = ()) -> Manifest:
    """Write the quantised graph into the workspace; return its manifest.

    Args:
        warnings: Sentences for the parity report.

    Raises:
        ParityError: If neither variant is within the tolerances of INT8.
        ExportError: If NNCF fails, OpenVINO does not compute in int8 or splits an attention, or
            INT8 is not faster.
    """
    base, reference = job.base, job.reference
    with tempfile.TemporaryDirectory(prefix=".int8.", dir=job.workspace) as folder:
        fp32 = _saved_base(job, Path(folder) / "fp32")
        variants = [
            _quantised(job, Path(folder) / name, smooth_quant=name == "smooth")
            for name in ("plain", "smooth")
        ]
        kept = _closest(variants)
        layers = check_layers(kept.artifact, fp32, linear=len(encoder_products(base)))
        rows, problems = compare_runtimes(kept.artifact, reference)
        speed = _compare_speed(kept.artifact, fp32, rows, reference)
        variants_text = _variants_text(variants, kept)
        if not speed.is_faster:
            raise ExportError(f"INT8 is not faster here: {_speed_text(speed)}; {variants_text}")
        path = job.workspace / _MODEL
        (kept.artifact.folder / _MODEL).rename(path)
    warnings = (*problems, *warnings, variants_text, _speed_text(speed))
    # The graph is FP32 but for its Q/DQ pairs, so activations are not limited to FP16's range.
    report = make_report(reference, rows, problems=warnings, precision="fp32")
    if not report.passed:
        raise ParityError(describe_failure(report))
    quantisation = Quantisation(
        tool=kept.tool,
        images=len(job.images),
        smooth_quant=kept.smooth_quant,
        variants=tuple(
            QuantisedVariant(smooth_quant=each.smooth_quant, comparison=each.comparison)
            for each in variants
        ),
        linear_layers=layers.linear,
        fused_attentions=attentions_of(base) - layers.split_attentions,
        speed=speed,
    )
    manifest = job.describe("int8", (path,), ir.load(path))
    name, _, version = kept.tool.partition(" ")
    return msgspec.structs.replace(
        manifest,
        parity=report,
        quantisation=quantisation,
        tools={**manifest.tools, name: version},
    )


def attentions_of(graph: ir.Model) -> int:
    """Return the number of attentions in a graph, in either form."""
    return sum(node.op_type in ("Attention", "Softmax") for node in graph.graph)


def _saved_base(job: Int8Job, folder: Path) -> Artifact:
    folder.mkdir()
    files = save_onnx(job.base, folder / _MODEL)
    return Artifact(folder=folder, manifest=job.describe("fp32", files, job.base))


def _quantised(job: Int8Job, folder: Path, *, smooth_quant: bool) -> _Variant:
    folder.mkdir()
    path, reference = folder / _MODEL, job.reference
    tool = quantise_for_openvino(job.base, path, images=job.images, smooth_quant=smooth_quant)
    artifact = Artifact(folder=folder, manifest=job.describe("int8", (path,), ir.load(path)))
    row = compare_runtime("openvino", artifact, reference.images.pixels, reference.outputs)
    return _Variant(artifact=artifact, tool=tool, smooth_quant=smooth_quant, comparison=row)


def _closest(variants: Sequence[_Variant]) -> _Variant:
    """Return the variant with the smallest error of logits.

    Raises:
        ParityError: If it is not within the tolerances.
    """
    kept = min(variants, key=lambda each: (not each.comparison.passed, each.error))
    if not kept.comparison.passed:
        reasons = "; ".join(
            f"{_name(each)}: {', '.join(each.comparison.failures)}" for each in variants
        )
        raise ParityError(f"INT8 is not close enough to PyTorch ({reasons})")
    return kept


def check_layers(quantised: Artifact, fp32: Artifact, *, linear: int) -> CompiledLayers:
    """Return what OpenVINO compiled the quantised graph to.

    Raises:
        ExportError: If linear layers are not computed in int8, or attentions are split that are not
            in FP32.
    """
    with OpenVINORuntime(fp32) as runtime:
        before = runtime.compiled_layers()
    with OpenVINORuntime(quantised) as runtime:
        layers = runtime.compiled_layers()
    found = layers.linear.get("int8", 0)
    if found < linear:
        raise ExportError(f"OpenVINO computes {found} of the {linear} quantised layers in int8")
    if layers.split_attentions > before.split_attentions:
        raise ExportError(
            f"OpenVINO splits {layers.split_attentions} attentions of the quantised graph, "
            f"{before.split_attentions} of the FP32 one, which is slower than FP32"
        )
    return layers


def _compare_speed(
    quantised: Artifact, fp32: Artifact, rows: Sequence[Comparison], reference: Reference
) -> SpeedComparison:
    """Return the speed of the quantised artifact beside that of the FP32 graph.

    Raises:
        ParityError: If no runtime of OpenVINO passes with it.
    """
    names = ("openvino-bf16", "openvino") if has_bf16() else ("openvino",)
    passed = [row.backend for row in rows if row.passed]
    chosen = next((name for name in names if name in passed), None)
    if chosen is None:
        raise ParityError("no runtime of OpenVINO is close enough to PyTorch with INT8")
    return compare_speed(
        OpenedBy(artifact=quantised, runtime=chosen),
        [OpenedBy(artifact=fp32, runtime=name) for name in names],
        reference.images.pixels[:1],
    )


def _speed_text(speed: SpeedComparison) -> str:
    return (
        f"{speed.runtime} in INT8 takes {speed.milliseconds:.3g} ms per image, {speed.baseline} "
        f"without INT8 {speed.baseline_milliseconds:.3g} ms: {speed.ratio:.2f}x, and in three "
        f"quarters of {speed.rounds} alternating rounds at least {speed.lower_quartile:.2f}x, on "
        f"{speed.processor}"
    )


def _variants_text(variants: Sequence[_Variant], kept: _Variant) -> str:
    errors = ", ".join(f"{_name(each)} {each.error:.1e}" for each in variants)
    return f"the logit error is {errors}; kept {_name(kept)}"


def _name(variant: _Variant) -> str:
    return f"{'with' if variant.smooth_quant else 'without'} SmoothQuant"

"""One precision after another: exported, compared with PyTorch, compiled, until one passes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import onnx_ir as ir
from numpy.typing import NDArray

from motivnet import __version__
from motivnet.artifact import Artifact
from motivnet.artifact.manifest import FileEntry, GraphSummary, InputEntry, Manifest
from motivnet.artifact.reference import REFERENCE_FILE, ReferenceSet
from motivnet.errors import EngineError, ExportError, MotivNetError, ParityError
from motivnet.files import sha256_of
from motivnet.model import MotivNet
from motivnet.parity import Attempt, AttentionForm, Comparison, ParityReport, Precision
from motivnet.terminal import progress
from motivnet_engines.build.engine_artifact import add_engine
from motivnet_engines.runtimes.signature import input_from_pixels
from motivnet_engines.system.installed import installed_versions
from motivnet_export.graph import check_onnx, save_onnx, summarise
from motivnet_export.parity_check import (
    Reference,
    check_overflow,
    compare_rounding,
    compare_runtimes,
    describe_failure,
    make_report,
)
from motivnet_export.parity_images import choose_calibration_images
from motivnet_export.precision import FALLBACKS, apply_precision
from motivnet_export.quantise.modelopt_environment import VERSION as MODELOPT
from motivnet_export.quantise.nncf_quantise import check_int8_pays
from motivnet_export.quantise.quantise import quantise_onnx
from motivnet_export.request import BuildRequest
from motivnet_export.source import ModelSource
from motivnet_export.torch_to_onnx import INPUT_NAME, OUTPUT_NAMES, onnx_from_model

MODEL_FILE = "model.onnx"
_TOOLS = (
    "torch",
    "onnx",
    "onnxscript",
    "onnx-ir",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "numpy",
)
_DRAWN_RANGES = (
    "the ranges were measured on drawn faces; give images of yours with --calibration-images FOLDER"
)
_NO_REPORT = ParityReport(
    passed=False, images=0, image_source="", comparisons=(), activations=(), warnings=()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildJob:
    """A build in ``workspace``; ``kept`` is the reference data that goes into the artifact."""

    request: BuildRequest
    source: ModelSource
    reference: Reference
    kept: ReferenceSet
    workspace: Path
    on_message: Callable[[str], None]


def build_with_fallback(job: BuildJob) -> Manifest:
    """Return the manifest of the first precision that passes; its files are in the workspace.

    A precision is tried with each form of attention. If the rounding of PyTorch or the exporter
    refuses one form, it refuses the other, so that only an engine is tried with both.

    Raises:
        ParityError, ExportError, EngineError: If no precision passes, or with ``strict`` the first
            one does not.
    """
    request = job.request
    attempts: list[Attempt] = []
    for precision in FALLBACKS[request.precision]:
        for attention in request.attention_forms(precision):
            try:
                return try_precision(job, precision, attention, attempts=tuple(attempts))
            except (ParityError, ExportError, EngineError) as error:
                if request.strict:
                    raise
                attempts.append(
                    Attempt(precision=precision, attention=attention, reason=str(error))
                )
                of_engine = isinstance(error, EngineError)
                form = f" with {attention} attention" if of_engine else ""
                job.on_message(f"{precision}{form} is given up: {error}")
                if not of_engine:
                    break
    reason = attempts[-1].reason
    if request.engine is None or not request.engine_optional:
        raise ParityError(f"no precision is close enough to PyTorch; the last reason: {reason}")
    job.on_message(f"the artifact stays without an engine: {reason}")
    return build_with_fallback(replace(job, request=replace(request, engine=None)))


def try_precision(
    job: BuildJob, precision: Precision, attention: AttentionForm, *, attempts: tuple[Attempt, ...]
) -> Manifest:
    """Return the manifest of an export that passes; only its files are in the workspace.

    Raises:
        ParityError: If the export in this precision does not pass; the message is the reason.
        EngineError: If the export passes, and the engine cannot be built from it or does not pass.
    """
    if precision == "int8" and job.request.for_openvino:
        return _try_int8_for_openvino(job, attention, attempts=attempts)
    check_overflow(job.reference, precision)
    _empty(job.workspace)
    rounding, files, graph = _export(job, precision, attention)
    manifest = _describe(job, precision, attention, files, graph, attempts=attempts)
    if precision in ("int8", "fp8"):
        manifest = msgspec.structs.replace(
            manifest, tools={**manifest.tools, "nvidia-modelopt": MODELOPT}
        )
    artifact = Artifact(folder=job.workspace, manifest=manifest)
    rows, problems = compare_runtimes(artifact, job.reference)
    if precision in ("int8", "fp8") and job.request.calibration_images is None:
        problems.append(_DRAWN_RANGES)
    report = make_report(job.reference, [*rounding, *rows], problems=problems, precision=precision)
    if not report.passed:
        raise ParityError(describe_failure(report))
    return _add_engine(job, msgspec.structs.replace(manifest, parity=report))


def _try_int8_for_openvino(
    job: BuildJob, attention: AttentionForm, *, attempts: tuple[Attempt, ...]
) -> Manifest:
    """Return the manifest of an INT8 graph that OpenVINO runs faster than any other here."""
    check_int8_pays()
    from motivnet_export.int8_openvino import Int8Job, build_int8

    _empty(job.workspace)
    model = job.source.load()
    apply_precision(model, "fp32")
    with progress("exporting fp32"):
        base = _graph_of(job, model, attention)
    del model
    int8_job = Int8Job(
        base=base,
        workspace=job.workspace,
        images=_calibration_inputs(job),
        reference=job.reference,
        describe=lambda precision, files, graph: _describe(
            job, precision, attention, files, summarise(graph), attempts=attempts
        ),
    )
    return build_int8(int8_job, warnings=() if job.request.calibration_images else (_DRAWN_RANGES,))


def _describe(
    job: BuildJob,
    precision: Precision,
    attention: AttentionForm,
    files: Sequence[Path],
    graph: GraphSummary,
    *,
    attempts: tuple[Attempt, ...],
) -> Manifest:
    """Return the manifest of an export that is not compared yet; write its reference beside it."""
    reference_file = files[0].parent / REFERENCE_FILE
    reference_file.write_bytes(job.kept.to_bytes())
    return Manifest(
        kind="onnx",
        model=MODEL_FILE,
        files=tuple(
            FileEntry(path=file.name, size=file.stat().st_size, sha256=sha256_of(file))
            for file in (*files, reference_file)
        ),
        input=_input_entry(job),
        outputs=OUTPUT_NAMES,
        labels=job.source.labels,
        max_batch=job.request.max_batch,
        precision=precision,
        requested_precision=job.request.precision,
        purpose=job.request.purpose,
        attention=attention,
        source=job.source.entry(),
        graph=graph,
        parity=_NO_REPORT,
        tools={"motivnet": __version__, **installed_versions(_TOOLS)},
        reference=REFERENCE_FILE,
        attempts=attempts,
    )


def _export(
    job: BuildJob, precision: Precision, attention: AttentionForm
) -> tuple[tuple[Comparison, ...], tuple[Path, ...], GraphSummary]:
    """Compare the rounding, then write the graph; return its files and counts.

    The PyTorch model and the graph are freed on return, before the runtimes need memory.
    """
    source, path = job.source, job.workspace / MODEL_FILE
    model = source.load()
    apply_precision(model, precision)
    rounding = compare_rounding(
        model,
        job.reference,
        source.preprocessing,
        precision=precision,
        exact=job.request.exact_rounding,
    )
    if any(row.failures for row in rounding):
        report = make_report(job.reference, rounding, problems=(), precision=precision)
        raise ParityError(describe_failure(report))
    with progress(f"exporting {precision}"):
        graph = _graph_of(job, model, attention)
        if precision == "int8" or precision == "fp8":  # noqa: PLR1714 - a type checker narrows only comparisons
            files = quantise_onnx(
                graph,
                path,
                precision=precision,
                images=_calibration_inputs(job),
                on_message=job.on_message,
            )
            graph = ir.load(path)
        else:
            files = save_onnx(graph, path)
            check_onnx(path)
    return rounding, files, summarise(graph)


def _graph_of(job: BuildJob, model: MotivNet, attention: AttentionForm) -> ir.Model:
    return onnx_from_model(
        model,
        attention=attention,
        input_dtype=job.request.input_dtype,
        any_size=job.request.any_size,
        preprocessing=job.source.preprocessing,
    )


def _calibration_inputs(job: BuildJob) -> NDArray[Any]:
    request, source = job.request, job.source
    images = choose_calibration_images(
        source.config,
        source.preprocessing,
        folder=request.calibration_images,
        parity_folder=request.images,
        parity_count=request.num_images,
    )
    return input_from_pixels(_input_entry(job), images.pixels)


def _add_engine(job: BuildJob, manifest: Manifest) -> Manifest:
    options = job.request.engine
    if options is None:
        return manifest
    artifact = Artifact(folder=job.workspace, manifest=manifest)
    try:
        return add_engine(artifact, job.workspace, options, on_message=job.on_message)
    except EngineError:
        raise  # another precision or form of attention may pass
    except MotivNetError as error:
        if not job.request.engine_optional:
            raise
        job.on_message(f"the artifact stays without an engine: {error}")
        return manifest


def _input_entry(job: BuildJob) -> InputEntry:
    return InputEntry(
        name=INPUT_NAME,
        dtype=job.request.input_dtype,
        preprocessing=job.source.preprocessing,
        any_size=job.request.any_size,
    )


def _empty(folder: Path) -> None:
    for leftover in folder.iterdir():
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()

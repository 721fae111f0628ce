"""One rung of the ladder: the model exported in one precision and judged."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import onnx_ir as ir

from motivnet import __version__
from motivnet.artifact import Artifact
from motivnet.errors import ParityError
from motivnet.files import sha256_of
from motivnet.manifest import Comparison, FileEntry, InputEntry, Manifest, ParityReport, Precision
from motivnet.progress import progress
from motivnet_export.gate import Reference, failure_line, overflow_of, rounding_of, runtimes_of, verdict
from motivnet_export.onnx import INPUT_NAME, OUTPUT_NAMES, check_onnx, onnx_from_model, save_onnx, summary_of
from motivnet_export.precision import apply_precision
from motivnet_export.request import BuildRequest
from motivnet_export.source import ModelSource

MODEL_FILE = "model.onnx"
_TOOLS = ("torch", "onnx", "onnxscript", "onnx-ir", "onnxruntime", "onnxruntime-gpu", "openvino", "numpy")
_NO_VERDICT = ParityReport(passed=False, images=0, image_source="", comparisons=(), activations=(), warnings=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A build under way: what was asked for, of which model, judged by what, made where and for which folder."""

    request: BuildRequest
    source: ModelSource
    reference: Reference
    workspace: Path
    folder: Path


def climb(job: Job, precision: Precision) -> Manifest:
    """The manifest of an export that passed the gate; its files are in the workspace, and nothing else is.

    Raises:
        ParityError: If the export in this precision does not pass; the message is the reason.
    """
    if overflow := overflow_of(job.reference, precision):
        raise ParityError(overflow)
    _empty(job.workspace)
    rounding, manifest = _export(job, precision)
    rows, refusals = runtimes_of(Artifact(folder=job.workspace, manifest=manifest), job.reference)
    report = verdict(job.reference, [*rounding, *rows], refusals=refusals, precision=precision)
    if not report.passed:
        raise ParityError(failure_line(report))
    return replace(manifest, parity=report)


def _export(job: Job, precision: Precision) -> tuple[tuple[Comparison, ...], Manifest]:
    """Judges the rounding, then exports; the PyTorch model and the graph are gone when the runtimes need memory."""
    model, recipe = job.source.load(), job.source.recipe
    apply_precision(model, precision)
    rounding = rounding_of(model, job.reference, recipe, precision=precision)
    if any(row.failures for row in rounding):
        raise ParityError(failure_line(verdict(job.reference, rounding, refusals=(), precision=precision)))
    with progress(f"exporting {precision}"):
        graph = onnx_from_model(
            model,
            attention=job.request.attention_for(precision),
            input_dtype=job.request.input_dtype,
            recipe=recipe,
        )
        files = save_onnx(graph, job.workspace / MODEL_FILE)
        check_onnx(job.workspace / MODEL_FILE)
    return rounding, _manifest(job, files, graph=graph, precision=precision)


def _manifest(job: Job, files: tuple[Path, ...], *, graph: ir.Model, precision: Precision) -> Manifest:
    """All but the verdict, which is not known yet and stands as not passed."""
    request, source = job.request, job.source
    return Manifest(
        kind="onnx",
        model=MODEL_FILE,
        files=tuple(FileEntry(path=f.name, size=f.stat().st_size, sha256=sha256_of(f)) for f in files),
        input=InputEntry(name=INPUT_NAME, dtype=request.input_dtype, recipe=source.recipe),
        outputs=OUTPUT_NAMES,
        labels=source.labels,
        max_batch=request.max_batch,
        precision=precision,
        requested_precision=request.precision,
        attention=request.attention_for(precision),
        source=source.entry(job.folder),
        graph=summary_of(graph),
        parity=_NO_VERDICT,
        tools=tool_versions(),
    )


def tool_versions() -> dict[str, str]:
    """Versions of what takes part in a build, those that are installed."""
    versions = {"motivnet": __version__}
    for name in _TOOLS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _empty(folder: Path) -> None:
    for leftover in folder.iterdir():
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()

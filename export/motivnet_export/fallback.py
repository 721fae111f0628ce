"""One rung of the ladder: the model exported in one precision and form of attention, judged, and compiled if asked."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from motivnet import __version__
from motivnet.artifact import Artifact
from motivnet.artifact.manifest import (
    AttentionForm,
    Comparison,
    FileEntry,
    GraphSummary,
    InputEntry,
    Manifest,
    ParityReport,
    Precision,
)
from motivnet.artifact.reference import REFERENCE_FILE, ReferenceSet
from motivnet.errors import EngineError, MotivNetError, ParityError
from motivnet.files import sha256_of
from motivnet.progress import progress
from motivnet_engines.build.engine_artifact import with_engine
from motivnet_export.graph_files import write_graph
from motivnet_export.parity_check import (
    Reference,
    failure_line,
    overflow_of,
    rounding_of,
    runtimes_of,
    verdict,
)
from motivnet_export.precision import apply_precision
from motivnet_export.quantise.modelopt_environment import VERSION as MODELOPT
from motivnet_export.request import BuildRequest
from motivnet_export.source import ModelSource
from motivnet_export.torch_to_onnx import INPUT_NAME, OUTPUT_NAMES

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
    "the ranges were measured on drawn faces; give images of yours with --calibration FOLDER"
)
_NO_VERDICT = ParityReport(
    passed=False, images=0, image_source="", comparisons=(), activations=(), warnings=()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """What is tried: a precision and a form of attention."""

    precision: Precision
    attention: AttentionForm


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A build under way: what was asked for, of which model, judged by what, made where and for
    which folder.

    ``kept`` goes into the artifact, for the verdict on a device; ``announce`` hears what a person
    should know.
    """

    request: BuildRequest
    source: ModelSource
    reference: Reference
    kept: ReferenceSet
    workspace: Path
    folder: Path
    announce: Callable[[str], None]


def climb(job: Job, rung: Rung) -> Manifest:
    """The manifest of an export that passed the gate; its files are in the workspace, and nothing
    else is.

    Raises:
        ParityError: If the export in this precision does not pass; the message is the reason.
        EngineError: If the export passes and the engine asked for cannot be built of it, or does
        not.
    """
    if overflow := overflow_of(job.reference, rung.precision):
        raise ParityError(overflow)
    _empty(job.workspace)
    rounding, manifest = _export(job, rung)
    rows, refusals = runtimes_of(Artifact(folder=job.workspace, manifest=manifest), job.reference)
    report = verdict(job.reference, [*rounding, *rows], refusals=refusals, precision=rung.precision)
    if not report.passed:
        raise ParityError(failure_line(report))
    if rung.precision in ("int8", "fp8") and job.request.calibration is None:
        report = replace(report, warnings=(*report.warnings, _DRAWN_RANGES))
    return _with_engine(job, replace(manifest, parity=report))


def _with_engine(job: Job, manifest: Manifest) -> Manifest:
    options = job.request.engine
    if options is None:
        return manifest
    artifact = Artifact(folder=job.workspace, manifest=manifest)
    try:
        return with_engine(artifact, job.workspace, options, announce=job.announce)
    except EngineError:
        raise  # another rung may hold
    except MotivNetError as error:
        if not job.request.engine_optional:
            raise
        job.announce(f"the artifact stays without an engine: {error}")
        return manifest


def _export(job: Job, rung: Rung) -> tuple[tuple[Comparison, ...], Manifest]:
    """Judges the rounding, then exports; the PyTorch model and the graph are gone when the runtimes need memory."""
    model, recipe = job.source.load(), job.source.recipe
    apply_precision(model, rung.precision)
    rounding = rounding_of(model, job.reference, recipe, precision=rung.precision)
    if any(row.failures for row in rounding):
        raise ParityError(
            failure_line(verdict(job.reference, rounding, refusals=(), precision=rung.precision))
        )
    with progress(f"exporting {rung.precision}"):
        files, summary = write_graph(
            model,
            job.workspace / MODEL_FILE,
            source=job.source,
            request=job.request,
            precision=rung.precision,
            attention=rung.attention,
            announce=job.announce,
        )
    (job.workspace / REFERENCE_FILE).write_bytes(job.kept.to_bytes())
    return rounding, _manifest(
        job, (*files, job.workspace / REFERENCE_FILE), summary=summary, rung=rung
    )


def _manifest(job: Job, files: tuple[Path, ...], *, summary: GraphSummary, rung: Rung) -> Manifest:
    """All but the verdict, which is not known yet and stands as not passed."""
    request, source = job.request, job.source
    return Manifest(
        kind="onnx",
        model=MODEL_FILE,
        files=tuple(
            FileEntry(path=f.name, size=f.stat().st_size, sha256=sha256_of(f)) for f in files
        ),
        input=InputEntry(
            name=INPUT_NAME,
            dtype=request.input_dtype,
            recipe=source.recipe,
            any_size=request.any_size,
        ),
        outputs=OUTPUT_NAMES,
        labels=source.labels,
        max_batch=request.max_batch,
        precision=rung.precision,
        requested_precision=request.precision,
        attention=rung.attention,
        source=source.entry(),
        graph=summary,
        parity=_NO_VERDICT,
        tools=tool_versions()
        | ({"nvidia-modelopt": MODELOPT} if rung.precision in ("int8", "fp8") else {}),
        reference=REFERENCE_FILE,
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

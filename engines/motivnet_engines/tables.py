"""What the ``motivnet`` command shows at a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.markup import escape
from rich.table import Table

from motivnet.manifest import Comparison, Manifest
from motivnet.terminal import facts, show, table
from motivnet_engines.doctor import Diagnosis
from motivnet_engines.image_files import FileResult
from motivnet_engines.info import ArtifactInfo, RuntimeStatus
from motivnet_engines.machine import Machine


def print_predictions(results: Iterable[FileResult]) -> None:
    """One line per file that has a prediction; nothing if none has."""
    rows = table("file", "emotion", ">confidence")
    for result in results:
        if result.prediction is not None:
            rows.add_row(escape(str(result.path)), result.prediction.label, f"{result.prediction.confidence:.1%}")
    if rows.row_count:
        show(rows)


def print_info(info: ArtifactInfo) -> None:
    """What the artifact is, its distance from PyTorch, and the runtimes."""
    runtimes = table("runtime", "at the build", "here")
    for status in info.runtimes:
        runtimes.add_row(status.name, status.verdict, _state_here(status))
    comparisons = info.manifest.parity.comparisons
    show(facts(_artifact_facts(info)), *([comparison_table(comparisons)] if comparisons else []), runtimes)


def print_diagnosis(diagnosis: Diagnosis) -> None:
    """The machine, then one line per package, then the commands that repair what is missing."""
    machine = diagnosis.machine
    named = {
        "processor": f"{machine.processor} ({machine.architecture}), {_cores(machine)}",
        "BF16": ", ".join(machine.bf16_instructions) or "no instructions for it",
        "memory": _memory(machine),
        "CUDA devices": str(diagnosis.cuda_devices),
        "Python": f"{diagnosis.python}, {diagnosis.executable}",
        "motivnet": diagnosis.motivnet,
    }
    packages = table("package", "version", "here", "to repair")
    for status in diagnosis.packages:
        packages.add_row(status.name, status.version or "-", escape(status.detail), escape(status.repair or ""))
    show(facts(named), packages)


def comparison_table(comparisons: tuple[Comparison, ...]) -> Table:
    """One row per backend: what it shows, and how far it is from PyTorch FP32."""
    rows = table(
        "compared with PyTorch FP32",
        "shows",
        ">logit cosine",
        ">logit error",
        ">probability error",
        ">same top 1",
        ">embedding cosine",
        "verdict",
    )
    for row in comparisons:
        rows.add_row(
            f"{row.backend} ({row.compute})",
            row.evidence,
            f"{row.logit_cosine:.6f}",
            f"{row.logit_max_abs:.1e}",
            f"{row.probability_max_abs:.1e}",
            f"{row.top1_agreement:.1%}",
            f"{row.embedding_cosine:.6f}",
            "passed" if row.passed else escape("; ".join(row.failures)),
        )
    return rows


def precision_text(manifest: Manifest) -> str:
    """The precision; where it is not the one asked for, that one too and why it was given up."""
    if manifest.precision == manifest.requested_precision:
        return manifest.precision
    reasons = "; ".join(f"{attempt.precision}: {attempt.reason}" for attempt in manifest.attempts)
    return f"{manifest.precision} instead of {manifest.requested_precision} ({reasons})"


def _artifact_facts(info: ArtifactInfo) -> dict[str, str]:
    manifest = info.manifest
    recipe = manifest.input.recipe
    parity = manifest.parity
    return {
        "artifact": f"{info.folder}, {info.size / 1e6:,.1f} MB",
        "model": _model(manifest),
        "precision": precision_text(manifest),
        "attention": manifest.attention,
        "input": f"{manifest.input.name}, {manifest.input.dtype}, {recipe.name} to {recipe.size[0]} x {recipe.size[1]}",
        "largest batch": str(manifest.max_batch),
        "labels": ", ".join(manifest.labels),
        "parity": f"{'passed' if parity.passed else 'FAILED'} on {parity.images} images ({parity.image_source})",
        **{f"warning {number}": text for number, text in enumerate(parity.warnings, 1)},
    }


def _model(manifest: Manifest) -> str:
    encoder, source = manifest.source.config.encoder, manifest.source
    origin = "random weights" if source.random_weights else source.checkpoint or "an unnamed checkpoint"
    fresh = ", the head is fresh" if source.fresh_head and not source.random_weights else ""
    return f"{origin}{fresh}; {encoder.depth} layers of {encoder.embed_dim}"


def _state_here(status: RuntimeStatus) -> str:
    if status.obstacle is not None:
        return escape(status.obstacle)
    return "runs, the default" if status.default else "runs"


def _cores(machine: Machine) -> str:
    limit = "" if machine.core_limit is None else f", limited to {machine.core_limit:g}"
    return f"{machine.cores} cores{limit}"


def _memory(machine: Machine) -> str:
    named = {"in all": machine.memory_total, "free": machine.memory_available, "allowed": machine.memory_limit}
    return ", ".join(f"{value / 2**30:.1f} GiB {name}" for name, value in named.items() if value is not None)

"""What the ``motivnet`` command shows at a terminal."""

from __future__ import annotations

from pathlib import Path

from motivnet.artifact.manifest import Comparison, InputEntry, Manifest
from motivnet.terminal import TextTable, facts, show, table
from motivnet_engines.diagnostics.capabilities import Ability
from motivnet_engines.diagnostics.doctor import Diagnosis
from motivnet_engines.diagnostics.engine_text import engine_text
from motivnet_engines.diagnostics.info import ArtifactInfo, RuntimeStatus
from motivnet_engines.inference.calibration import CalibrationFacts
from motivnet_engines.system.machine import Machine
from motivnet_engines.system.nvidia import NvidiaDriver
from motivnet_engines.verification.verify import Verification


def print_verification(found: Verification) -> None:
    """How far each runtime is from PyTorch here, and what did not run."""
    lines = {f"not run {number}": text for number, text in enumerate(found.refusals, 1)}
    lines["manifest"] = (
        "the verdict was written into it"
        if found.recorded
        else "could not be written; left as it is"
    )
    show(comparison_table(found.comparisons), facts(lines))


def print_info(info: ArtifactInfo) -> None:
    """What the artifact is, its distance from PyTorch, and the runtimes."""
    runtimes = table("runtime", "at the build", "here")
    for status in info.runtimes:
        runtimes.add_row(status.name, status.verdict, _state_here(status))
    measured = [engine.comparison for engine in info.manifest.engines if engine.comparison]
    comparisons = (*info.manifest.parity.comparisons, *measured)
    show(
        facts(_artifact_facts(info)),
        *([comparison_table(comparisons)] if comparisons else []),
        runtimes,
    )


def print_diagnosis(diagnosis: Diagnosis) -> None:
    """The machine, the packages, what can be built and run here, and the commands that repair what is missing."""
    packages = table("package", "version", "here")
    for status in diagnosis.packages:
        packages.add_row(status.name, status.version or "-", status.detail)
    abilities = table("can be built", "", "")
    _add_abilities(abilities, diagnosis.builds)
    runs = table("can be run", "", "")
    _add_abilities(runs, diagnosis.runs)
    extras = table("can be used", "", "")
    _add_abilities(extras, diagnosis.features)
    parts = [facts(_machine_facts(diagnosis)), packages, abilities, runs, extras]
    if diagnosis.repairs:
        repairs = table("to repair", "run")
        for name, line in diagnosis.repairs.items():
            repairs.add_row(name, line)
        parts.append(repairs)
    if diagnosis.advice:
        parts.append(
            facts({f"note {number}": text for number, text in enumerate(diagnosis.advice, 1)})
        )
    show(*parts)


def comparison_table(comparisons: tuple[Comparison, ...]) -> TextTable:
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
            "passed" if row.passed else "; ".join(row.failures),
        )
    return rows


def input_text(entry: InputEntry) -> str:
    """The input's name, dtype and recipe, and who resizes."""
    recipe = entry.recipe
    where = "in the graph, from any size, " if entry.any_size else ""
    return (
        f"{entry.name}, {entry.dtype}, {where}{recipe.name} to {recipe.size[0]} x {recipe.size[1]}"
    )


def precision_text(manifest: Manifest) -> str:
    """The precision; where it is not the one asked for, that one too and why it was given up."""
    if manifest.precision == manifest.requested_precision:
        return manifest.precision
    reasons = "; ".join(f"{attempt.precision}: {attempt.reason}" for attempt in manifest.attempts)
    return f"{manifest.precision} instead of {manifest.requested_precision} ({reasons})"


def _artifact_facts(info: ArtifactInfo) -> dict[str, str]:
    manifest = info.manifest
    parity = manifest.parity
    return {
        "artifact": f"{info.folder}, {info.size / 1e6:,.1f} MB",
        "model": _model(manifest),
        "precision": precision_text(manifest),
        "attention": manifest.attention,
        "input": input_text(manifest.input),
        **{
            f"engine {engine.backend}": engine_text(engine, Path(info.folder))
            for engine in manifest.engines
        },
        "largest batch": str(manifest.max_batch),
        "labels": ", ".join(manifest.labels),
        "parity": f"{'passed' if parity.passed else 'FAILED'} on {parity.images} images ({parity.image_source})",
        "calibration": _calibration(info.calibration),
        **{f"warning {number}": text for number, text in enumerate(parity.warnings, 1)},
    }


def _calibration(measured: CalibrationFacts | None) -> str:
    if measured is None:
        return "none; motivnet calibrate measures how sure the artifact may be"
    return (
        f"temperature {measured.temperature:.3f}, calibration error {measured.error_before:.3f} -> "
        f"{measured.error_after:.3f}, {measured.known_share:.1%} of {sum(measured.held_out.values()):,} images known"
    )


def _model(manifest: Manifest) -> str:
    encoder, source = manifest.source.config.encoder, manifest.source
    origin = (
        "random weights" if source.random_weights else source.checkpoint or "an unnamed checkpoint"
    )
    fresh = ", the head is fresh" if source.fresh_head and not source.random_weights else ""
    return f"{origin}{fresh}; {encoder.depth} layers of {encoder.embed_dim}"


def _state_here(status: RuntimeStatus) -> str:
    if status.obstacle is not None:
        return status.obstacle
    return "runs, the default" if status.default else "runs"


def _add_abilities(rows: TextTable, abilities: tuple[Ability, ...]) -> None:
    for ability in abilities:
        rows.add_row(ability.name, "yes" if ability.possible else "no", ability.detail)


def _machine_facts(diagnosis: Diagnosis) -> dict[str, str]:
    machine, driver, jetson = diagnosis.machine, diagnosis.driver, diagnosis.jetson
    gpus = {
        f"GPU {index}": f"{gpu.name}, SM {gpu.sm}, {gpu.memory / 2**30:.1f} GiB"
        for index, gpu in enumerate(driver.gpus)
    }
    board = (
        {}
        if jetson is None
        else {"Jetson": f"{jetson.model}, L4T {jetson.l4t}, JetPack {jetson.jetpack or '?'}"}
    )
    return {
        "processor": f"{machine.processor} ({machine.architecture}), {_cores(machine)}",
        "BF16": ", ".join(machine.bf16_instructions) or "no instructions for it",
        "memory": _memory(machine),
        **board,
        "NVIDIA driver": _driver_text(driver),
        **gpus,
        "Python": f"{diagnosis.python}, {diagnosis.executable}",
        "motivnet": diagnosis.motivnet,
    }


def _driver_text(driver: NvidiaDriver) -> str:
    known = [
        text
        for text in (
            driver.version,
            f"CUDA {driver.cuda}" if driver.cuda else None,
            driver.obstacle,
        )
        if text
    ]
    unused = ["an NVIDIA GPU is in this machine and not in use"] if driver.unused_gpu else []
    return "; ".join([*known, *unused])


def _cores(machine: Machine) -> str:
    limit = "" if machine.core_limit is None else f", limited to {machine.core_limit:g}"
    return f"{machine.cores} cores{limit}"


def _memory(machine: Machine) -> str:
    named = {
        "in all": machine.memory_total,
        "free": machine.memory_available,
        "allowed": machine.memory_limit,
    }
    return ", ".join(
        f"{value / 2**30:.1f} GiB {name}" for name, value in named.items() if value is not None
    )

"""What ``motivnet`` prints of artifacts and footprints at a terminal."""

from __future__ import annotations

from pathlib import Path

from motivnet.artifact.engine_entry import EngineEntry, EngineReport
from motivnet.artifact.fidelity import describe_fidelity
from motivnet.artifact.manifest import InputEntry, Manifest
from motivnet.config import EncoderConfig, ModelConfig
from motivnet.parity import Comparison
from motivnet.printable import printable
from motivnet.terminal import Renderable, TextTable, details, show, stacked, table
from motivnet_engines.diagnostics.footprint import Footprint
from motivnet_engines.diagnostics.inspect import Inspection
from motivnet_engines.inference.calibration import CalibrationMetadata
from motivnet_engines.inference.escalation import Escalation
from motivnet_engines.verification.parity_run import Verification

_EVIDENCE = {
    "inspector": "the engine's own layers",
    "compiler": "the compiler's layers",
    "network": "the parsed network",
}
_LARGEST_PACKAGES = 8
_MAP_COLUMNS = 64


def print_verification(found: Verification) -> None:
    """Print the distance of each runtime from PyTorch, and which did not run."""
    lines = {f"not run {number}": text for number, text in enumerate(found.refusals, 1)}
    lines["manifest"] = "the results were written into it"
    if not found.recorded:
        lines["manifest"] = "could not be written; left as it is"
    show(comparison_table(found.comparisons), details(lines))


def comparison_table(comparisons: tuple[Comparison, ...]) -> TextTable:
    """Return one row per runtime: what it shows, and how far it is from PyTorch FP32."""
    rows = table(
        "compared with PyTorch FP32",
        "shows",
        ">logit cosine",
        ">logit error",
        ">probability error",
        ">same top 1",
        ">embedding cosine",
        "parity",
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


def print_inspection(found: Inspection) -> None:
    """Print what the artifact is, its distance from PyTorch, and the runtimes."""
    runtimes = table("runtime", "at the build", "here")
    for status in found.runtimes:
        state = status.missing_requirement or "runs"
        if status.default:
            state = f"{state}, the default"
        runtimes.add_row(status.name, status.parity, state)
    measured = [engine.comparison for engine in found.manifest.engines if engine.comparison]
    comparisons = (*found.manifest.parity.comparisons, *measured)
    parts: list[Renderable] = [details(_artifact_details(found))]
    if found.manifest.source.config.encoder.kept_tokens is not None:
        parts.append(token_map(found.manifest.source.config.encoder))
    if comparisons:
        parts.append(comparison_table(comparisons))
    show(*parts, runtimes)


def _artifact_details(found: Inspection) -> dict[str, str]:
    manifest, parity = found.manifest, found.manifest.parity
    engines = {
        f"engine {engine.backend}": engine_text(engine, Path(found.folder))
        for engine in manifest.engines
    }
    result = "passed" if parity.passed else "FAILED"
    size = sum(entry.size for entry in manifest.files)
    return {
        "artifact": f"{found.folder}, {size / 1e6:,.1f} MB",
        "model": _model_text(manifest),
        **describe_fidelity(manifest.source.fidelity, manifest.source.config),
        **cost_details(manifest.source.config),
        "precision": precision_text(manifest),
        "attention": manifest.attention,
        "input": input_text(manifest.input),
        **engines,
        "largest batch": str(manifest.max_batch),
        "labels": ", ".join(manifest.labels),
        "purpose": manifest.purpose or "not stated",
        "parity": f"{result} on {parity.images} images ({parity.image_source})",
        "calibration": _calibration_text(found.calibration),
        **({} if found.escalation is None else {"escalation": escalation_text(found.escalation)}),
        **{f"warning {number}": text for number, text in enumerate(parity.warnings, 1)},
    }


def _model_text(manifest: Manifest) -> str:
    source, encoder = manifest.source, manifest.source.config.encoder
    size = f"{encoder.depth} layers of {encoder.embed_dim}"
    if source.random_weights:
        return f"random weights; {size}"
    untrained = ", the head is untrained" if source.fresh_head else ""
    averaged = ", EMA weights" if source.ema else ""
    if source.trained_image_size is not None:
        height, width = source.trained_image_size
        averaged += f", trained at {height}x{width}"
    return f"{source.checkpoint or 'an unnamed checkpoint'}{averaged}{untrained}; {size}"


def cost_details(config: ModelConfig) -> dict[str, str]:
    """Return lines on the computation per image, and on the tokens if not all are kept."""
    encoder = config.encoder
    lines = {"computation": f"{flop_text(config.flop)} per image"}
    if encoder.kept_tokens is not None:
        rows, columns = encoder.grid_size
        whole = config.keeping(None).flop
        lines["tokens"] = (
            f"keeps {encoder.tokens:,} of {rows * columns:,} tokens "
            f"({flop_text(whole)} with all of them)"
        )
    return lines


def flop_text(flop: int) -> str:
    """Return floating-point operations with three digits and their unit."""
    for size, unit in ((10**12, "TFLOP"), (10**9, "GFLOP")):
        if flop >= size:
            return f"{flop / size:.3g} {unit}"
    return f"{flop / 10**6:.3g} MFLOP"


def token_map(encoder: EncoderConfig) -> Renderable:
    """Return a drawing of the patches whose tokens are kept (``#``) and left out (``.``).

    One character stands for one patch, or for a square of them where they are too many for a line;
    ``+`` is a square of which a part is kept.
    """
    return stacked(*rows_of_tokens(encoder))


def rows_of_tokens(encoder: EncoderConfig) -> list[str]:
    """Return the lines of ``token_map``, of at most 64 characters."""
    rows, columns = encoder.grid_size
    side = -(-columns // _MAP_COLUMNS)
    kept = set(range(rows * columns) if encoder.kept_tokens is None else encoder.kept_tokens)

    def sign(top: int, left: int) -> str:
        square = [
            row * columns + column in kept
            for row in range(top, min(top + side, rows))
            for column in range(left, min(left + side, columns))
        ]
        return "#" if all(square) else "+" if any(square) else "."

    return [
        "".join(sign(top, left) for left in range(0, columns, side)) for top in range(0, rows, side)
    ]


def precision_text(manifest: Manifest) -> str:
    """Return the precision, and if it is not the requested one, why that was given up."""
    if manifest.precision == manifest.requested_precision:
        return manifest.precision
    reasons = "; ".join(f"{attempt.precision}: {attempt.reason}" for attempt in manifest.attempts)
    return f"{manifest.precision} instead of {manifest.requested_precision} ({reasons})"


def input_text(entry: InputEntry) -> str:
    """Return the input's name and dtype, its preprocessing, and whether the graph resizes."""
    preprocessing = entry.preprocessing
    where = "in the graph, from any size, " if entry.any_size else ""
    size = f"{preprocessing.size[0]} x {preprocessing.size[1]}"
    align = ", faces aligned by five points" if preprocessing.aligns else ""
    return f"{entry.name}, {entry.dtype}, {where}{preprocessing.name} to {size}{align}"


def _calibration_text(measured: CalibrationMetadata | None) -> str:
    if measured is None:
        return "none; motivnet calibrate measures how reliable the confidences are"
    images = sum(measured.held_out.values())
    return (
        f"temperature {measured.temperature:.3f}, "
        f"calibration error {measured.error_before:.3f} -> {measured.error_after:.3f}, "
        f"{measured.known_share:.1%} of {images:,} images known"
    )


def escalation_text(found: Escalation) -> str:
    """Return when the full model is asked, the bound on changed answers, and the mean cost."""
    return (
        f"asks {printable(found.full_name)} below a confidence of {found.threshold:.3f}; "
        f"at most {found.max_changed:.2%} of the answers change ({found.confidence_level:.0%} "
        f"confidence, {found.changed} of {found.images:,} did); the student answers "
        f"{found.student_share:.1%}, {found.mean_flop / found.full_flop:.0%} of the full cost"
    )


def engine_text(engine: EngineEntry, folder: Path) -> str:
    """Return one line on an engine of the artifact in ``folder``: target, batch, layers, parity."""
    if engine.comparison is None:
        parity = f"compiled and never run; on the device: motivnet verify {folder}"
    else:
        parity = f"{'passed' if engine.comparison.passed else 'FAILED'} on its GPU"
    name = f"{engine.backend} {engine.version} for {_target_text(engine)}"
    profile = engine.profile
    name += f", fastest at batch size {profile.opt_batch} of up to {profile.max_batch}"
    return f"{name}: {_layers_text(engine.report)}; {parity}"


def _target_text(engine: EngineEntry) -> str:
    if engine.backend == "tensorrt-rtx":
        names = " and ".join(f"SM {name}" for name in engine.compute_capabilities)
        return names or "Ampere and later"
    device = engine.device
    return f"{device.name} ({device.compute_capability})" if device else "an unknown GPU"


def _layers_text(report: EngineReport) -> str:
    """Return the dtypes of the matrix products and the number of fused attentions."""
    total = sum(report.matrix_layers.values()) or 1
    shares = ", ".join(
        f"{count / total:.0%} {dtype}" for dtype, count in sorted(report.matrix_layers.items())
    )
    fused = "unknown" if report.attention_fused is None else str(report.attention_fused)
    attention = f"{fused} of {report.attention_layers} attentions fused"
    return f"{shares}, {attention} (seen in {_EVIDENCE[report.evidence]})"


def print_footprint(found: Footprint) -> None:
    """Print disk, memory and cold start, and the largest packages."""
    packages = table("package", "version", ">size")
    for package in found.packages[:_LARGEST_PACKAGES]:
        size = "unknown" if package.size is None else size_text(package.size)
        packages.add_row(package.name, package.version, size)
    if rest := found.packages[_LARGEST_PACKAGES:]:
        total = sum(package.size or 0 for package in rest)
        packages.add_row(f"{len(rest)} more", "", size_text(total))
    count, peak = len(found.packages), size_text(found.peak)
    resident = "unknown" if found.resident is None else size_text(found.resident)
    rows = {
        "runtime": found.runtime,
        "installed": f"{size_text(found.installed)} in {count} packages, without Python itself",
        "artifact": size_text(found.artifact),
        "memory": f"{resident} after the first prediction, {peak} at most",
        "cold start": f"{found.cold_start:.1f} s from the start of Python to the first prediction, "
        f"{found.first_call:.1f} s of it the prediction",
    }
    show(details(rows), packages)


def size_text(size: int) -> str:
    """Return bytes as MB, or as GB from 1 GB on."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"

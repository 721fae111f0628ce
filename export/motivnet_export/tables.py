"""What the ``motivnet-export`` command shows at a terminal."""

from __future__ import annotations

from pathlib import Path

from motivnet.artifact import Artifact
from motivnet.artifact.manifest import GraphSummary, Manifest, ParityReport
from motivnet.terminal import facts, marked, show, stacked
from motivnet_engines.diagnostics.engine_text import engine_text
from motivnet_engines.diagnostics.tables import comparison_table, input_text, precision_text
from motivnet_export.inspect import Inspection, compute_shares
from motivnet_export.single_file import ExportedFile


def print_built(artifact: Artifact, engine: str) -> None:
    """The verdict, where the artifact is, and a line on its engine."""
    manifest = artifact.manifest
    print_parity(manifest.parity)
    built = marked("built", f"{artifact.folder}: {_headline(manifest)}")
    show("", stacked(built, marked("engine", engine)))


def print_exported(exported: ExportedFile) -> None:
    """The files and what is in the graph."""
    show(
        facts(
            {"files": ", ".join(str(path) for path in exported.files)}
            | _graph_facts(exported.graph)
        )
    )


def print_parity(report: ParityReport) -> None:
    """Each comparison with its figures, then the warnings."""
    verdict = "passed" if report.passed else "FAILED"
    images = "1 image" if report.images == 1 else f"{report.images} images"
    lines = {"parity": f"{verdict} on {images} ({report.image_source})"}
    lines |= {f"warning {number}": text for number, text in enumerate(report.warnings, 1)}
    show(facts(lines), comparison_table(report.comparisons))


def print_inspection(inspection: Inspection, folder: Path) -> None:
    """All that an artifact says of itself, checked against its files."""
    manifest = inspection.manifest
    size = sum(entry.size for entry in manifest.files)
    named = {
        "artifact": _headline(manifest),
        "files": ", ".join(
            f"{entry.path} ({entry.size / 1e6:,.1f} MB)" for entry in manifest.files
        ),
        "size": f"{size / 1e6:,.1f} MB",
        **_graph_facts(inspection.graph),
        "input": input_text(manifest.input),
        **{f"engine {engine.backend}": engine_text(engine, folder) for engine in manifest.engines},
        "outputs": ", ".join(manifest.outputs),
        "labels": ", ".join(manifest.labels),
        "largest batch": str(manifest.max_batch),
        "checkpoint": f"{manifest.source.checkpoint or 'random weights'}, SHA-256 {manifest.source.sha256 or '-'}",
        "largest activation": _largest_activations(manifest.parity),
        "made with": ", ".join(f"{name} {number}" for name, number in manifest.tools.items()),
    }
    show(facts(named))
    show("")
    print_parity(manifest.parity)


def _headline(manifest: Manifest) -> str:
    weights = " of random weights" if manifest.source.random_weights else ""
    weights += " with a random head" if manifest.source.fresh_head else ""
    precision = precision_text(manifest)
    return f"ONNX{weights}, {precision}, {manifest.attention} attention, up to {manifest.max_batch} images a batch"


def _graph_facts(graph: GraphSummary) -> dict[str, str]:
    shares = ", ".join(f"{share:.0%} {dtype}" for dtype, share in compute_shares(graph).items())
    weights = ", ".join(
        f"{size / 1e6:,.1f} MB {dtype}" for dtype, size in graph.weight_bytes.items()
    )
    return {
        "graph": f"opset {graph.opset}, {graph.nodes} nodes, {graph.attention_nodes} Attention",
        "computes in": f"{shares} of {sum(graph.compute_nodes.values())} matrix-multiplying nodes",
        "weights": weights,
    }


def _largest_activations(report: ParityReport) -> str:
    stream = max(report.activations, key=lambda block: block.stream)
    compute = max(report.activations, key=lambda block: block.compute)
    return f"{stream.stream:.3g} on the stream ({stream.block}), {compute.compute:.3g} in layers ({compute.block})"

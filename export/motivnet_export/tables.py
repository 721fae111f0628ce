"""What the ``motivnet-export`` command prints at a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from motivnet.artifact import Artifact
from motivnet.artifact.manifest import GraphSummary, Manifest
from motivnet.parity import ParityReport
from motivnet.terminal import details, marked, show, stacked
from motivnet_engines.build.backend import available_backend
from motivnet_engines.diagnostics.tables import (
    comparison_table,
    cost_details,
    engine_text,
    input_text,
    precision_text,
    token_map,
)
from motivnet_export.request import Target


def print_built(artifact: Artifact, engine: str) -> None:
    """Print the parity report, where the artifact is, and a line on its engine."""
    manifest = artifact.manifest
    print_parity(manifest.parity)
    built = marked("built", f"{artifact.folder}: {_headline(manifest)}")
    show("", stacked(built, marked("engine", engine)))


def print_exported(files: Sequence[Path], graph: GraphSummary) -> None:
    """Print the files and what is in the graph."""
    show(details({"files": ", ".join(map(str, files)), **_describe_graph(graph)}))


def print_parity(report: ParityReport) -> None:
    """Print whether the report passed, its warnings, and each comparison."""
    outcome = "passed" if report.passed else "FAILED"
    images = "1 image" if report.images == 1 else f"{report.images} images"
    lines = {"parity": f"{outcome} on {images} ({report.image_source})"}
    lines |= {f"warning {number}": text for number, text in enumerate(report.warnings, 1)}
    show(details(lines), comparison_table(report.comparisons))


def print_inspection(artifact: Artifact) -> None:
    """Print the contents of an artifact."""
    manifest, folder = artifact.manifest, artifact.folder
    size = sum(entry.size for entry in manifest.files)
    lines = {
        "artifact": _headline(manifest),
        "files": ", ".join(
            f"{entry.path} ({entry.size / 1e6:,.1f} MB)" for entry in manifest.files
        ),
        "size": f"{size / 1e6:,.1f} MB",
        **_describe_graph(manifest.graph),
        **cost_details(manifest.source.config),
        "input": input_text(manifest.input),
        **{f"engine {engine.backend}": engine_text(engine, folder) for engine in manifest.engines},
        "outputs": ", ".join(manifest.outputs),
        "labels": ", ".join(manifest.labels),
        "largest batch": str(manifest.max_batch),
        "checkpoint": f"{manifest.source.checkpoint or 'random weights'}, "
        f"{'EMA weights, ' if manifest.source.ema else ''}"
        f"SHA-256 {manifest.source.sha256 or '-'}",
        "largest activation": _largest_activations(manifest.parity),
        "made with": ", ".join(f"{name} {number}" for name, number in manifest.tools.items()),
    }
    show(details(lines))
    show("")
    if manifest.source.config.encoder.kept_tokens is not None:
        show(token_map(manifest.source.config.encoder), "")
    print_parity(manifest.parity)


def describe_engine(target: Target, artifact: Artifact) -> str:
    """Return what was compiled and whether it has run, or how to get an engine."""
    if artifact.manifest.engines:
        return engine_text(artifact.manifest.engines[-1], artifact.folder)
    if target == "onnx":
        return f"none was asked for; to compile one: motivnet build-engine {artifact.folder}"
    if available_backend() is not None:
        return (
            "none: the warning above says why; --target tensorrt or tensorrt-rtx makes it an error"
        )
    return (
        "none: no TensorRT with a GPU and no TensorRT-RTX here; pip install 'motivnet[rtx]' to "
        f"compile ahead of time, or on the device: motivnet build-engine {artifact.folder}"
    )


def _headline(manifest: Manifest) -> str:
    weights = " of random weights" if manifest.source.random_weights else ""
    weights += " with a random head" if manifest.source.fresh_head else ""
    precision = precision_text(manifest)
    return (
        f"ONNX{weights}, {precision}, {manifest.attention} attention, "
        f"up to {manifest.max_batch} images per batch"
    )


def _describe_graph(graph: GraphSummary) -> dict[str, str]:
    products = sum(graph.compute_nodes.values())
    shares = ", ".join(
        f"{count / (products or 1):.0%} {dtype}" for dtype, count in graph.compute_nodes.items()
    )
    weights = ", ".join(
        f"{size / 1e6:,.1f} MB {dtype}" for dtype, size in graph.weight_bytes.items()
    )
    return {
        "graph": f"opset {graph.opset}, {graph.nodes} nodes, {graph.attention_nodes} Attention",
        "computes in": f"{shares} of {products} matrix-multiplying nodes",
        "weights": weights,
    }


def _largest_activations(report: ParityReport) -> str:
    stream = max(report.activations, key=lambda block: block.stream)
    compute = max(report.activations, key=lambda block: block.compute)
    return (
        f"{stream.stream:.3g} on the stream ({stream.block}), "
        f"{compute.compute:.3g} in layers ({compute.block})"
    )

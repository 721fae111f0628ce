"""What is in an artifact: read from its files, beside what its manifest says."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from motivnet.artifact import Artifact
from motivnet.artifact.manifest import GraphSummary, Manifest
from motivnet.errors import ArtifactError
from motivnet_export.torch_to_onnx import check_onnx, summary_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """An artifact's manifest, verified, and the counts of the graph itself."""

    manifest: Manifest
    graph: GraphSummary


def compute_shares(graph: GraphSummary) -> dict[str, float]:
    """Share of the matrix-multiplying nodes in each dtype."""
    total = sum(graph.compute_nodes.values()) or 1
    return {dtype: count / total for dtype, count in graph.compute_nodes.items()}


def inspect_artifact(artifact: Artifact) -> Inspection:
    """Reads the graph behind its hash and counts it again.

    Raises:
        ArtifactError: If a file does not match the manifest, or the counts do not.
    """
    if artifact.manifest.kind != "onnx":
        raise ArtifactError(
            f"{artifact.folder} is an engine alone, without a graph to count; see: motivnet info"
        )
    artifact.verify_files()
    with artifact.verified_model_path() as path:
        check_onnx(path)
        graph = summary_of(ir.load(path))
    if graph != artifact.manifest.graph:
        raise ArtifactError(
            f"the graph of {artifact.folder} is not the one that its manifest describes"
        )
    return Inspection(manifest=artifact.manifest, graph=graph)

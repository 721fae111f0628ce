"""The checks of a finished artifact: its parity again, and its graph against its manifest."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from motivnet.artifact import Artifact
from motivnet.errors import ArtifactError
from motivnet.parity import ParityReport
from motivnet_export.graph import check_onnx, summarise
from motivnet_export.parity_check import (
    compare_rounding,
    compare_runtimes,
    compute_reference,
    make_report,
)
from motivnet_export.parity_images import check_num_images, choose_parity_images
from motivnet_export.precision import apply_precision
from motivnet_export.source import source_of_artifact


def verify_artifact(
    artifact: Artifact,
    *,
    checkpoint: Path | None = None,
    images: Path | None = None,
    num_images: int | None = None,
    exact_rounding: bool = False,
    trust_engines: bool = False,
) -> ParityReport:
    """Compare an artifact with its checkpoint in PyTorch FP32, as the build did.

    Args:
        checkpoint: Its checkpoint, if it is not in ``checkpoints/`` or the working directory.
        images: A folder of images; drawn faces without one.
        exact_rounding: Whether half arithmetic is PyTorch's own instead of simulated in FP32.
        trust_engines: Whether engines that this user did not build here are run too.

    Raises:
        ArtifactError: If the artifact's files or graph do not match its manifest, or the checkpoint
            is another.
    """
    check_num_images(num_images)
    check_graph(artifact)
    manifest = artifact.manifest
    source = source_of_artifact(artifact, checkpoint)
    if source.checkpoint is not None and source.labels != manifest.labels:
        raise ArtifactError(
            f"the labels in the manifest are not the checkpoint's ({', '.join(source.labels)}); "
            "build it again"
        )
    preprocessing = manifest.input.preprocessing
    chosen = choose_parity_images(source.config, preprocessing, folder=images, count=num_images)
    reference = compute_reference(source.load(), chosen, preprocessing)
    # What was quantised for OpenVINO is FP32 but for its Q/DQ pairs: there is no rounding to show.
    precision = manifest.precision if manifest.quantisation is None else "fp32"
    model = source.load()
    apply_precision(model, precision)
    rounding = compare_rounding(
        model, reference, preprocessing, precision=precision, exact=exact_rounding
    )
    del model
    rows, problems = compare_runtimes(artifact, reference, trust_engines=trust_engines)
    return make_report(reference, [*rounding, *rows], problems=problems, precision=precision)


def check_graph(artifact: Artifact) -> None:
    """Check the hash of the graph, and that its counts are those of the manifest.

    Raises:
        ArtifactError: If a file does not match the manifest, or the counts do not.
    """
    if artifact.manifest.kind != "onnx":
        raise ArtifactError(
            f"{artifact.folder} is an engine alone, without a graph to count; see: motivnet inspect"
        )
    artifact.verify_files()
    with artifact.verified_model_path() as path:
        check_onnx(path)
        graph = summarise(ir.load(path))
    if graph != artifact.manifest.graph:
        raise ArtifactError(
            f"the graph of {artifact.folder} is not the one that its manifest describes"
        )

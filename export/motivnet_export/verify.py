"""The verdict of a build, given again later: on another machine, or on other images."""

from __future__ import annotations

from pathlib import Path

from motivnet.artifact import Artifact
from motivnet.artifact.manifest import ParityReport
from motivnet.errors import ArtifactError
from motivnet_export.inspect import inspect_artifact
from motivnet_export.parity_check import reference_of, rounding_of, runtimes_of, verdict
from motivnet_export.parity_images import gate_images
from motivnet_export.precision import apply_precision
from motivnet_export.source import source_of_artifact


def verify_artifact(
    artifact: Artifact,
    *,
    checkpoint: Path | None = None,
    calibration: Path | None = None,
    parity_images: int | None = None,
    trust_engines: bool = False,
) -> ParityReport:
    """Compares an artifact with its checkpoint in PyTorch FP32, as the build did.

    Args:
        checkpoint: Where the checkpoint is, if not of its name in ``checkpoints/`` or the working
        directory.
        calibration: A folder of images; drawn faces without one.
        parity_images: How many images.
        trust_engines: Whether engines that this user did not build here are run too.

    Raises:
        ArtifactError: If the artifact's files or graph do not match its manifest, or the checkpoint
        is another.
    """
    inspect_artifact(artifact)
    manifest = artifact.manifest
    source = source_of_artifact(artifact, checkpoint)
    if source.checkpoint is not None and source.labels != manifest.labels:
        raise ArtifactError(
            f"the labels in the manifest are not the checkpoint's ({', '.join(source.labels)}); build it again"
        )
    recipe = manifest.input.recipe
    images = gate_images(source.config, recipe, folder=calibration, count=parity_images)
    reference = reference_of(source.load(), images, recipe)
    model = source.load()
    apply_precision(model, manifest.precision)
    rounding = rounding_of(model, reference, recipe, precision=manifest.precision)
    del model
    rows, refusals = runtimes_of(artifact, reference, trust_engines=trust_engines)
    return verdict(reference, [*rounding, *rows], refusals=refusals, precision=manifest.precision)

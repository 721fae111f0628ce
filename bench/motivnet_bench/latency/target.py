"""What is measured: an artifact, and the weights that its PyTorch baseline runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from motivnet.artifact import Artifact, open_artifact
from motivnet.artifact.manifest import Precision

MIN_MAX_BATCH = 8
"""Largest batch of an artifact built here; the gate of the build runs small batches too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """An artifact and the checkpoint that it was made from; None where its weights are random."""

    name: str
    artifact: Artifact
    checkpoint: Path | None


def subject_from_artifact(
    folder: Path, *, checkpoint: Path | None = None, needs_pytorch: bool = True
) -> Subject:
    """The artifact in a folder, beside the very checkpoint that its manifest names.

    Args:
        checkpoint: Where that checkpoint is, if not of its name in ``checkpoints/`` or the working
        directory.
        needs_pytorch: Whether PyTorch will run too; without it the checkpoint is not looked for.

    Raises:
        ArtifactError: If the folder is no artifact, its files are damaged, its checkpoint is gone
            or another file, or it tells of more random weights than its files can hold.
        ConfigError: If a checkpoint is given for an artifact of random weights.
    """
    artifact = open_artifact(folder)
    artifact.verify_files()
    found = None
    if needs_pytorch:
        from motivnet_export.source import check_random_weights, checkpoint_of_artifact

        found = checkpoint_of_artifact(artifact, checkpoint)
        if found is None:
            check_random_weights(artifact)
    return Subject(name=folder.resolve().name, artifact=artifact, checkpoint=found)


def subject_from_model(model: str, folder: Path, *, precision: Precision, batch: int) -> Subject:
    """An artifact of a named size with random weights, built for this batch into a folder below
    ``folder``.

    Raises:
        MotivNetError: As ``motivnet_export.build.build_artifact``.
    """
    from motivnet_export.build import build_artifact
    from motivnet_export.request import BuildRequest

    name = Path(model).stem if model.endswith(".json") else model
    request = BuildRequest(
        model=model,
        out=folder / name,
        precision=precision,
        max_batch=max(MIN_MAX_BATCH, batch),
        parity_images=1,  # the weights are random, and PyTorch may need half a minute an image
    )
    return Subject(name=name, artifact=build_artifact(request), checkpoint=None)

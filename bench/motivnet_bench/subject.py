"""What is measured: an artifact, and the weights that its PyTorch baseline runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from motivnet.artifact import Artifact, open_artifact
from motivnet.errors import ArtifactError, ConfigError
from motivnet.files import sha256_of
from motivnet.manifest import Precision
from motivnet.progress import progress

MIN_MAX_BATCH = 8
"""Largest batch of an artifact built here; the gate of the build runs small batches too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """An artifact and the checkpoint that it was made from; None where its weights are random."""

    name: str
    artifact: Artifact
    checkpoint: Path | None


def subject_from_artifact(folder: Path, *, checkpoint: Path | None = None, needs_pytorch: bool = True) -> Subject:
    """The artifact in a folder, beside the very checkpoint that its manifest names.

    Args:
        checkpoint: Where that checkpoint lies now, if not where it lay when the artifact was built.
        needs_pytorch: Whether PyTorch will run too; without it the checkpoint is not looked for.

    Raises:
        ArtifactError: If the folder is no artifact, or its checkpoint is gone or is another file.
        ConfigError: If a checkpoint is given for an artifact of random weights.
    """
    artifact = open_artifact(folder)
    name = folder.resolve().name
    random_weights = artifact.manifest.source.random_weights
    if random_weights and checkpoint is not None:
        raise ConfigError(f"{folder} was built with random weights; leave --checkpoint out")
    if random_weights or not needs_pytorch:
        return Subject(name=name, artifact=artifact, checkpoint=None)
    found = checkpoint or _recorded_checkpoint(artifact)
    _check_sha256(artifact, found)
    return Subject(name=name, artifact=artifact, checkpoint=found)


def subject_from_model(model: str, folder: Path, *, precision: Precision, batch: int) -> Subject:
    """An artifact of a named size with random weights, built for this batch into a folder below ``folder``.

    Raises:
        MotivNetError: As ``motivnet_export.build.build_artifact``.
    """
    from motivnet_export.build import build_artifact
    from motivnet_export.request import BuildRequest

    name = Path(model).stem if model.endswith(".json") else model
    request = BuildRequest(model=model, out=folder / name, precision=precision, max_batch=max(MIN_MAX_BATCH, batch))
    return Subject(name=name, artifact=build_artifact(request), checkpoint=None)


def _recorded_checkpoint(artifact: Artifact) -> Path:
    source = artifact.manifest.source
    if source.path is None:
        raise ArtifactError(
            f"the manifest of {artifact.folder} does not say where its checkpoint is; give --checkpoint"
        )
    path = Path(os.path.normpath(artifact.folder / source.path))
    if not path.is_file():
        raise ArtifactError(f"{path}, the checkpoint that {artifact.folder} was made from, is gone; give --checkpoint")
    return path


def _check_sha256(artifact: Artifact, checkpoint: Path) -> None:
    with progress(f"checking {checkpoint.name}", total=_size(checkpoint)) as advance:
        found = sha256_of(checkpoint, on_bytes=advance)
    if found != artifact.manifest.source.sha256:
        raise ArtifactError(
            f"{checkpoint} is not the checkpoint that {artifact.folder} was made from (SHA-256 differs); "
            "give that one with --checkpoint, or build the artifact again"
        )


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None

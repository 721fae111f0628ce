"""One artifact out of one model: exported, judged against PyTorch, and put in its place whole."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from motivnet.artifact import ARTIFACTS, Artifact, open_artifact
from motivnet.errors import ExportError, ParityError
from motivnet.files import atomic_folder
from motivnet.manifest import FILE_NAME, Attempt, Manifest
from motivnet_export.gate import reference_of
from motivnet_export.gate_images import gate_images
from motivnet_export.precision import LADDER
from motivnet_export.request import BuildRequest
from motivnet_export.rung import Job, climb
from motivnet_export.source import model_source

logger = logging.getLogger(__name__)

Announce = Callable[[str], None]


def build_artifact(request: BuildRequest, *, announce: Announce = logger.warning) -> Artifact:
    """A verified artifact in its folder.

    The precision asked for is tried first, then the next on the ladder; each fall is announced and recorded.

    Args:
        announce: Hears one line about each precision that is given up.

    Raises:
        ParityError: If no precision passes, or with ``strict`` the one asked for does not. Nothing is written.
        MotivNetError: For anything else that is the user's to mend.
    """
    source = model_source(request.checkpoint, model=request.model, preprocess=request.preprocess)
    folder = request.out or ARTIFACTS / source.name
    images = gate_images(source.config, source.recipe, folder=request.calibration, count=request.parity_images)
    with atomic_folder(folder, may_replace=_is_artifact) as temporary:
        reference = reference_of(source.load(), images, source.recipe)
        job = Job(request=request, source=source, reference=reference, workspace=temporary, folder=folder)
        manifest = _descend(job, announce)
        (temporary / FILE_NAME).write_bytes(manifest.to_json())
    return open_artifact(folder)


def _descend(job: Job, announce: Announce) -> Manifest:
    """The manifest of the first rung of the ladder that holds, its files left in the workspace."""
    attempts: list[Attempt] = []
    for precision in LADDER[job.request.precision]:
        try:
            return replace(climb(job, precision), attempts=tuple(attempts))
        except (ParityError, ExportError) as error:
            if job.request.strict:
                raise
            attempts.append(Attempt(precision=precision, reason=str(error)))
            announce(f"{precision} is given up: {error}")
    raise ParityError(f"no precision is close enough to PyTorch; the last reason: {attempts[-1].reason}")


def _is_artifact(folder: Path) -> bool:
    return (folder / FILE_NAME).is_file()

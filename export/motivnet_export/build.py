"""One artifact out of one model: exported, judged against PyTorch, compiled if asked, and put in its place whole."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from motivnet.artifact import ARTIFACTS, Artifact, open_artifact, own_files
from motivnet.artifact.manifest import FILE_NAME, Attempt, Manifest, Precision
from motivnet.errors import EngineError, ExportError, MotivNetError, ParityError
from motivnet.files import atomic_folder
from motivnet_engines.build.backend import check_backend, check_gpu
from motivnet_engines.build.options import check_target
from motivnet_export.fallback import Job, Rung, climb
from motivnet_export.kept_reference import kept_reference
from motivnet_export.parity_check import reference_of
from motivnet_export.parity_images import gate_images
from motivnet_export.precision import LADDER
from motivnet_export.request import BuildRequest
from motivnet_export.source import model_source

logger = logging.getLogger(__name__)

Announce = Callable[[str], None]


def build_artifact(request: BuildRequest, *, announce: Announce = logger.warning) -> Artifact:
    """A verified artifact in its folder.

    The precision asked for is tried first, then the next on the ladder; each fall is announced and
    recorded. Where an engine is asked for, its own verdict counts too, and a precision is tried
    with decomposed attention before it is given up.

    An older artifact in the folder is replaced with its reports; nothing else is: a folder whose
    manifest is not ours, or that holds files which its manifest does not list, is refused before
    anything is built.

    Args:
        announce: Hears one line about each rung that is given up, and about each known fault of an
        engine.

    Raises:
        ParityError: If no precision passes, or with ``strict`` the one asked for does not. Nothing
        is written.
        EngineError: The same, where it was the engine that did not hold.
        FileError: If the folder holds anything besides an older artifact.
        MotivNetError: For anything else that is the user's to mend.
    """
    request = _with_possible_engine(request, announce)
    source = model_source(request.checkpoint, model=request.model, preprocess=request.preprocess)
    folder = request.out or ARTIFACTS / source.name
    images = gate_images(
        source.config, source.recipe, folder=request.calibration, count=request.parity_images
    )
    with atomic_folder(folder, own=own_files) as temporary:
        reference = reference_of(source.load(), images, source.recipe)
        job = Job(
            request=request,
            source=source,
            reference=reference,
            kept=kept_reference(source, reference),
            workspace=temporary,
            folder=folder,
            announce=announce,
        )
        manifest = _descend(job)
        (temporary / FILE_NAME).write_bytes(manifest.to_json())
        lost = _lost_parts(folder, manifest)
    for part, command in lost:
        announce(
            f"the {part} of the older artifact went with it; make it again with: {command} {folder}"
        )
    return open_artifact(folder)


def _lost_parts(folder: Path, manifest: Manifest) -> list[tuple[str, str]]:
    """What the user had added to the artifact that is about to be replaced and is not in the new one; and by what."""
    if not (folder / FILE_NAME).exists():
        return []
    older = open_artifact(folder).manifest
    backends = {engine.backend for engine in manifest.engines}
    lost = [
        (f"{engine.backend} engine", "motivnet build-engine")
        for engine in older.engines
        if engine.backend not in backends
    ]
    return lost if older.calibration is None else [("calibration", "motivnet calibrate"), *lost]


def _with_possible_engine(request: BuildRequest, announce: Announce) -> BuildRequest:
    """The request, once it is known that its engine can be built: a model is not exported for
    minutes to be told.

    Raises:
        MotivNetError: If it cannot, and is not optional.
    """
    if request.engine is None:
        return request
    try:
        check_backend(request.engine.backend)
        check_gpu(request.engine.backend, request.precision)
        check_target(request.engine, request.precision)
    except MotivNetError as error:
        if not request.engine_optional:
            raise
        announce(f"the artifact stays without an engine: {error}")
        return replace(request, engine=None)
    return request


def _descend(job: Job) -> Manifest:
    """The manifest of the first rung of the ladder that holds, its files left in the workspace."""
    attempts: list[Attempt] = []
    for precision in LADDER[job.request.precision]:
        manifest = _try_forms(job, precision, attempts)
        if manifest is not None:
            return replace(manifest, attempts=tuple(attempts))
    if job.request.engine is not None and job.request.engine_optional:
        job.announce(f"the artifact stays without an engine: {attempts[-1].reason}")
        return _descend(replace(job, request=replace(job.request, engine=None)))
    raise ParityError(
        f"no precision is close enough to PyTorch; the last reason: {attempts[-1].reason}"
    )


def _try_forms(job: Job, precision: Precision, attempts: list[Attempt]) -> Manifest | None:
    """The first form of attention that holds in a precision; each that does not is added to the
    attempts.

    What PyTorch's own rounding or the exporter refuses in one form, they refuse in the other.
    """
    for attention in job.request.forms_for(precision):
        try:
            return climb(job, Rung(precision=precision, attention=attention))
        except (ParityError, ExportError, EngineError) as error:
            if job.request.strict:
                raise
            attempts.append(Attempt(precision=precision, attention=attention, reason=str(error)))
            of_engine = isinstance(error, EngineError)
            job.announce(
                f"{precision}{f' with {attention} attention' if of_engine else ''} is given up: {error}"
            )
            if not of_engine:
                return None
    return None

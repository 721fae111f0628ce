"""One artifact from one model: exported, compared with PyTorch, compiled, and moved into place."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from motivnet.artifact import ARTIFACTS, Artifact, open_artifact, own_files
from motivnet.artifact.manifest import FILE_NAME, Manifest
from motivnet.artifact.reference import ReferenceSet
from motivnet.errors import ConfigError, MotivNetError
from motivnet.folders import atomic_folder
from motivnet.path_kind import kind_of
from motivnet_engines.build.backend import check_backend, check_gpu
from motivnet_engines.build.options import check_target
from motivnet_export.fallback import BuildJob, build_with_fallback
from motivnet_export.parity_check import Reference, compute_reference
from motivnet_export.parity_images import choose_parity_images, default_count
from motivnet_export.request import BuildRequest
from motivnet_export.source import ModelSource, model_source

logger = logging.getLogger(__name__)

KEPT_IMAGES = 4
"""Reference inputs that stay in an artifact, to verify it on a device without PyTorch."""


def build_artifact(
    request: BuildRequest, *, on_message: Callable[[str], None] = logger.warning
) -> Artifact:
    """Build a verified artifact in its folder.

    If a precision does not pass, the next of ``FALLBACKS`` is tried; each fallback is announced and
    recorded. If an engine is asked for, it must pass too, and a precision is tried with decomposed
    attention before it is given up.

    An older artifact in the folder is replaced together with its reports, and nothing else: a
    folder with another manifest, or with files that its manifest does not list, is refused before
    anything is built.

    Args:
        on_message: Called with one line for each precision that is given up, and for each known
            issue of an engine.

    Raises:
        ParityError: If no precision passes, or with ``strict`` the one asked for does not. Nothing
            is written.
        EngineError: The same, if it is the engine that does not pass.
        FileError: If the folder holds anything besides an older artifact.
        MotivNetError: For any other mistake of the user's.
    """
    request = _check_engine(request, on_message)
    source = model_source(
        request.checkpoint,
        model=request.model,
        preprocess=request.preprocess,
        image_size=request.image_size,
        ema=request.ema,
    )
    if request.any_size and source.preprocessing.aligns:
        raise ConfigError(
            "the checkpoint aligns faces, which a graph that resizes its images cannot do: leave "
            "out --input image"
        )
    folder = request.out or ARTIFACTS / source.name
    images = choose_parity_images(
        source.config, source.preprocessing, folder=request.images, count=request.num_images
    )
    with atomic_folder(folder, own=own_files) as temporary:
        reference = compute_reference(source.load(), images, source.preprocessing)
        job = BuildJob(
            request=request,
            source=source,
            reference=reference,
            kept=_kept_reference(source, reference),
            workspace=temporary,
            on_message=on_message,
        )
        manifest = build_with_fallback(job)
        (temporary / FILE_NAME).write_bytes(manifest.to_json())
        lost = _lost_parts(folder, manifest)
    for part, command in lost:
        on_message(
            f"the {part} of the older artifact went with it; make it again with: {command} {folder}"
        )
    return open_artifact(folder)


def _check_engine(request: BuildRequest, on_message: Callable[[str], None]) -> BuildRequest:
    """Return the request, without an optional engine that cannot be built here.

    Checked first: an export takes minutes.

    Raises:
        MotivNetError: If the engine cannot be built and is not optional.
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
        on_message(f"the artifact stays without an engine: {error}")
        return replace(request, engine=None)
    return request


def _kept_reference(source: ModelSource, reference: Reference) -> ReferenceSet:
    """Return a few drawn faces with the outputs of PyTorch in FP32.

    Always drawn faces: an artifact is passed on, and the user's photos must not go with it.
    """
    if not reference.images.drawn:
        count = min(KEPT_IMAGES, default_count(source.config))
        faces = choose_parity_images(source.config, source.preprocessing, folder=None, count=count)
        reference = compute_reference(source.load(), faces, source.preprocessing)
    return ReferenceSet(
        pixels=reference.images.pixels[:KEPT_IMAGES],
        logits=reference.outputs.logits[:KEPT_IMAGES],
        embedding=reference.outputs.embedding[:KEPT_IMAGES],
    )


def _lost_parts(folder: Path, manifest: Manifest) -> list[tuple[str, str]]:
    """Return what the user had added to the artifact that is replaced, and the commands for it."""
    if kind_of(folder / FILE_NAME) is None:
        return []
    older = open_artifact(folder).manifest
    backends = {engine.backend for engine in manifest.engines}
    lost = [
        (f"{engine.backend} engine", "motivnet build-engine")
        for engine in older.engines
        if engine.backend not in backends
    ]
    if older.escalation is not None:
        lost.insert(0, ("escalation", "motivnet calibrate --escalate FULL"))
    return lost if older.calibration is None else [("calibration", "motivnet calibrate"), *lost]

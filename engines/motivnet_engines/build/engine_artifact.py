"""An engine out of an artifact's ONNX graph: compiled, proven, judged where it can run, and put in its place whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact import (
    Artifact,
    check_free,
    has_manifest,
    open_artifact,
    own_files,
    own_files_but_reports,
)
from motivnet.artifact.copying import copy_files, link_files
from motivnet.artifact.manifest import FILE_NAME, EngineBackend, EngineEntry, FileEntry, Manifest
from motivnet.errors import (
    ConfigError,
    EngineError,
    FileError,
    MissingDependencyError,
    RuntimeUnavailableError,
)
from motivnet.files import atomic_folder, sha256_of
from motivnet.parity import Outputs
from motivnet_engines.build.activations import unfused_bytes
from motivnet_engines.build.backend import (
    capabilities_here,
    check_backend,
    check_gpu,
    device_memory,
)
from motivnet_engines.build.builder import BuiltEngine, engine_from_onnx
from motivnet_engines.build.known_issues import check_supported, warnings_for
from motivnet_engines.build.options import EngineOptions, check_options
from motivnet_engines.build.preflight import check_fits, estimate_build
from motivnet_engines.build.proof import check_proof
from motivnet_engines.runtimes.own_engines import remember_engine
from motivnet_engines.runtimes.tensorrt.versions import installed_version
from motivnet_engines.system.machine import read_machine
from motivnet_engines.system.nvidia import cuda_device_count
from motivnet_engines.verification.parity_run import comparison_of
from motivnet_engines.verification.verify import reference_outputs, with_verdicts

Announce = Callable[[str], None]


def build_engine(
    artifact: Artifact, options: EngineOptions, *, out: Path | None, announce: Announce
) -> Artifact:
    """The artifact with an engine of its graph in it, or with ``out`` a folder that holds the
    engine alone.

    An engine of the same backend is replaced; nothing changes if anything fails. Files in the
    artifact's folder that its manifest does not list stay; a folder ``out`` that has any is
    refused.

    Args:
        announce: Hears one line about each known fault and about what was not checked.

    Raises:
        ConfigError, MissingDependencyError, RuntimeUnavailableError: If it cannot be built so, or
        not here.
        EngineError: If the compiler refuses, the engine is not what was asked for, or it is too far
        from PyTorch.
    """
    check_backend(options.backend)
    check_options(options, artifact.manifest)
    folder = out or artifact.folder
    if out is not None and out.resolve() == artifact.folder.resolve():
        raise ConfigError(
            f"--out {out} is the artifact itself; leave --out away to add the engine to it"
        )
    if out is not None and _holds_a_graph(out):
        raise ConfigError(
            f"--out {out} is an artifact with a graph, which the engine alone would replace; choose another"
        )
    if out is None:
        check_free(artifact, engine_path(options.backend))
        place = atomic_folder(folder, own=own_files_but_reports, others="keep")
    else:
        place = atomic_folder(folder, own=own_files)
    with place as temporary:
        artifact = open_artifact(
            artifact.folder
        )  # reports and verdicts may have been added until the lock was had
        manifest = with_engine(artifact, temporary, options, announce=announce)
        if out is None:
            link_files(artifact, [entry.path for entry in manifest.files], temporary)
        else:
            manifest = _alone(artifact, manifest, options.backend, temporary)
        (temporary / FILE_NAME).write_bytes(manifest.to_json())
    return open_artifact(folder)


def engine_path(backend: EngineBackend) -> str:
    """Where the engine of a backend lies in an artifact."""
    return f"model.{backend}.engine"


def build_first_engine(
    artifacts: Sequence[Artifact], options: EngineOptions, *, out: Path | None, announce: Announce
) -> Artifact:
    """``build_engine`` of the first artifact whose engine holds: a ladder for a device that cannot
    export.

    Raises:
        MotivNetError: As ``build_engine``, of the last one.
    """
    for artifact in artifacts[:-1]:
        try:
            return build_engine(artifact, options, out=out, announce=announce)
        except (EngineError, ConfigError) as error:
            announce(f"{artifact.folder} is given up: {error}")
    return build_engine(artifacts[-1], options, out=out, announce=announce)


def with_engine(
    artifact: Artifact, workspace: Path, options: EngineOptions, *, announce: Announce
) -> Manifest:
    """The manifest of the artifact with a new engine, whose file is in the workspace; judged if it
    can run here.

    Raises:
        MotivNetError: As ``build_engine``.
    """
    manifest = artifact.manifest
    check_options(options, manifest)
    check_gpu(options.backend, manifest.precision)
    reference = reference_outputs(
        artifact
    )  # an artifact without one is told so before the compiler works for minutes
    path = engine_path(options.backend)
    check_supported(options.backend, attention=manifest.attention)
    check_fits(
        estimate_build(manifest, options),
        read_machine(),
        workspace,
        device_memory=device_memory(options.backend),
    )
    _announce_known_faults(manifest, options, announce)
    with artifact.verified_model_path() as onnx:
        built = engine_from_onnx(
            onnx, workspace / path, manifest=manifest, options=options, announce=announce
        )
    check_proof(
        built.proof,
        precision=manifest.precision,
        attention=manifest.attention,
        float32_layers=manifest.graph.compute_nodes.get("float32", 0),
        unfused_bytes=unfused_bytes(
            manifest.source.config, precision=manifest.precision, batch=built.profile.max_batch
        ),
    )
    _announce_unfused(built, announce)
    manifest = _manifest_with(manifest, _entry(path, built, options, manifest), workspace / path)
    _remember(manifest.entry(path), announce=announce)
    link_files(artifact, [manifest.reference] if manifest.reference else [], workspace)
    judged = Artifact(folder=workspace, manifest=manifest)
    return _judged(judged, options.backend, reference, announce=announce)


def _judged(
    artifact: Artifact,
    backend: EngineBackend,
    reference: tuple[NDArray[np.uint8], Outputs],
    *,
    announce: Announce,
) -> Manifest:
    """Runs the engine on the reference where this machine can; where it has a GPU and cannot, the reason is told."""
    manifest = artifact.manifest
    try:
        comparison = comparison_of(backend, artifact, *reference)
    except (MissingDependencyError, RuntimeUnavailableError) as error:
        if cuda_device_count() > 0:
            announce(f"the engine was not run here: {error}")
        return manifest
    if not comparison.passed:
        raise EngineError(
            f"the {backend} engine is too far from PyTorch: {'; '.join(comparison.failures)}"
        )
    return with_verdicts(manifest, [comparison])


def _entry(
    path: str, built: BuiltEngine, options: EngineOptions, manifest: Manifest
) -> EngineEntry:
    return EngineEntry(
        backend=options.backend,
        path=path,
        onnx_sha256=manifest.entry(manifest.model).sha256,
        version=built.version,
        platform=built.platform,
        precision=manifest.precision,
        attention=manifest.attention,
        compute_capabilities=options.compute_capabilities,
        device=built.device,
        profile=built.profile,
        hardware_compatibility=options.hardware_compatibility,
        version_compatible=options.version_compatible,
        weight_streaming=options.weight_streaming,
        build_seconds=built.seconds,
        build_peak_bytes=built.peak_bytes,
        proof=built.proof,
    )


def _remember(file: FileEntry, *, announce: Announce) -> None:
    """Without a record the engine is as good as a stranger's, and runs where it is named."""
    try:
        remember_engine(file.sha256)
    except FileError as error:
        announce(
            f"the engine is not recorded as yours and runs only if it is named with --runtime: {error}"
        )


def _manifest_with(manifest: Manifest, engine: EngineEntry, file: Path) -> Manifest:
    entry = FileEntry(path=engine.path, size=file.stat().st_size, sha256=sha256_of(file))
    files = (*(other for other in manifest.files if other.path != engine.path), entry)
    engines = (*(other for other in manifest.engines if other.backend != engine.backend), engine)
    return replace(manifest, files=files, engines=engines)


def _alone(
    artifact: Artifact, manifest: Manifest, backend: EngineBackend, workspace: Path
) -> Manifest:
    """The manifest of a folder that holds the engine, the reference and the calibration, and no graph."""
    engine = next(entry for entry in manifest.engines if entry.backend == backend)
    copied = [path for path in (manifest.reference, manifest.calibration) if path is not None]
    copy_files(artifact, copied, workspace)
    kept = {engine.path, *copied}
    files = tuple(entry for entry in manifest.files if entry.path in kept)
    return replace(
        manifest, kind="engine", model=engine.path, files=files, engines=(engine,), reports=()
    )


def _announce_known_faults(manifest: Manifest, options: EngineOptions, announce: Announce) -> None:
    """Before the build: one line for each fault that others saw with what is about to be built."""
    version = installed_version(options.backend)
    capabilities: list[str | None] = [
        *sorted({*(options.compute_capabilities or capabilities_here())})
    ]
    warnings = [
        warning
        for capability in capabilities or [None]
        for warning in warnings_for(
            backend=options.backend,
            version=version or "",
            compute_capability=capability,
            precision=manifest.precision,
            attention=manifest.attention,
        )
    ]
    for warning in dict.fromkeys(warnings):
        announce(warning)


def _announce_unfused(built: BuiltEngine, announce: Announce) -> None:
    """An attention that the graph writes as products may stay unfused; that is slow, and FP16 scores may overflow."""
    proof = built.proof
    halves = proof.matrix_layers.keys() != {"float32"}
    if (
        halves
        and proof.attention_fused is not None
        and proof.attention_fused < proof.attention_layers
    ):
        announce(
            f"only {proof.attention_fused} of {proof.attention_layers} attentions were fused by the compiler"
        )


def _holds_a_graph(folder: Path) -> bool:
    if not has_manifest(folder):
        return False
    own_files(folder)
    return open_artifact(folder).manifest.kind == "onnx"

"""An engine as part of an artifact: compiled, checked, compared with PyTorch, and put in place."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from motivnet.artifact import (
    Artifact,
    check_addable,
    copy_files,
    has_manifest,
    link_files,
    open_artifact,
    own_files,
    own_files_except_reports,
)
from motivnet.artifact.engine_entry import EngineBackend, EngineEntry
from motivnet.artifact.manifest import FILE_NAME, FileEntry, Manifest
from motivnet.errors import (
    ConfigError,
    EngineError,
    FileError,
    MissingDependencyError,
    RuntimeUnavailableError,
)
from motivnet.files import sha256_of
from motivnet.folders import atomic_folder
from motivnet.parity import Outputs
from motivnet_engines.build.backend import (
    capabilities_here,
    check_backend,
    check_gpu,
    device_memory,
)
from motivnet_engines.build.builder import engine_from_onnx
from motivnet_engines.build.engine_report import check_report
from motivnet_engines.build.known_issues import check_supported, warnings_for
from motivnet_engines.build.memory_estimate import check_fits, estimate_build, unfused_bytes
from motivnet_engines.build.options import EngineOptions, check_options
from motivnet_engines.runtimes.own_engines import remember_engine
from motivnet_engines.runtimes.tensorrt.api import installed_version
from motivnet_engines.system.machine import read_jetson, read_machine
from motivnet_engines.system.nvidia import cuda_device_count
from motivnet_engines.verification import parity_run
from motivnet_engines.verification.parity_run import add_comparisons, read_reference_outputs

OnMessage = Callable[[str], None]


def build_engine(
    artifact: Artifact, options: EngineOptions, *, out: Path | None, on_message: OnMessage
) -> Artifact:
    """Add an engine of its graph to an artifact, or write it alone to the folder ``out``.

    An engine of the same backend is replaced; nothing changes if anything fails. Files in the
    artifact's folder that its manifest does not list stay; a folder ``out`` that has any is
    refused.

    Args:
        artifact: With an ONNX graph.
        out: The folder for the engine alone.
        on_message: Called with a line about each known issue, and about what was not checked.

    Raises:
        ConfigError, MissingDependencyError, RuntimeUnavailableError: If it cannot be built with
            these options, or on this machine.
        EngineError: If the compiler refuses, the engine is not what was asked for, or it is too far
            from PyTorch.
    """
    check_backend(options.backend)
    check_options(options, artifact.manifest)
    if out is None:
        check_addable(artifact, engine_path(options.backend))
        folder = artifact.folder
        place = atomic_folder(folder, own=own_files_except_reports, others="keep")
    else:
        _check_out(out, artifact)
        folder = out
        place = atomic_folder(folder, own=own_files)
    with place as temporary:
        # Opened again under the lock: reports and parity results may have been added meanwhile.
        artifact = open_artifact(artifact.folder)
        manifest = add_engine(artifact, temporary, options, on_message=on_message)
        if out is None:
            link_files(artifact, [entry.path for entry in manifest.files], temporary)
        else:
            manifest = _keep_engine_alone(artifact, manifest, options.backend, temporary)
        (temporary / FILE_NAME).write_bytes(manifest.to_json())
    return open_artifact(folder)


def build_first_engine(
    artifacts: Sequence[Artifact],
    options: EngineOptions,
    *,
    out: Path | None,
    on_message: OnMessage,
) -> Artifact:
    """Build the engine of the first artifact where that succeeds.

    This is the precision fallback of a device that cannot export.

    Raises:
        MotivNetError: As ``build_engine``, of the last artifact.
    """
    for artifact in artifacts[:-1]:
        try:
            return build_engine(artifact, options, out=out, on_message=on_message)
        except (EngineError, ConfigError) as error:
            on_message(f"{artifact.folder} is skipped: {error}")
    return build_engine(artifacts[-1], options, out=out, on_message=on_message)


def engine_path(backend: EngineBackend) -> str:
    """Return the path of a backend's engine in an artifact."""
    return f"model.{backend}.engine"


def add_engine(
    artifact: Artifact, workspace: Path, options: EngineOptions, *, on_message: OnMessage
) -> Manifest:
    """Build an engine in the workspace and return the artifact's manifest with it.

    The engine is compared with PyTorch if it can run here.

    Raises:
        MotivNetError: As ``build_engine``.
    """
    manifest = artifact.manifest
    check_options(options, manifest)
    check_gpu(options.backend, manifest.precision)
    # Read before the compiler works for minutes: an artifact without a reference is refused.
    reference = read_reference_outputs(artifact)
    check_supported(options.backend, attention=manifest.attention)
    check_fits(
        estimate_build(manifest, options),
        read_machine(),
        workspace,
        device_memory=device_memory(options.backend),
        shared_memory=read_jetson() is not None,
    )
    for warning in _known_issues(manifest, options):
        on_message(warning)
    path = engine_path(options.backend)
    with artifact.verified_model_path() as onnx:
        engine = engine_from_onnx(
            onnx, workspace / path, manifest=manifest, options=options, on_message=on_message
        )
    _check_engine(engine, manifest, options, on_message=on_message)
    manifest = _manifest_with(manifest, engine, workspace / path)
    sha256 = manifest.entry(path).sha256
    try:
        remember_engine(sha256)
    except FileError as error:
        on_message(
            "the engine is not recorded as yours and runs only if it is named with --runtime: "
            f"{error}"
        )
    link_files(artifact, [manifest.reference] if manifest.reference else [], workspace)
    return _compare_with_pytorch(
        Artifact(folder=workspace, manifest=manifest),
        options.backend,
        reference,
        on_message=on_message,
    )


def _check_out(out: Path, artifact: Artifact) -> None:
    if os.path.realpath(out) == os.path.realpath(artifact.folder):
        raise ConfigError(
            f"--out {out} is the artifact itself; leave --out away to add the engine to it"
        )
    if has_manifest(out):
        own_files(out)
        if open_artifact(out).manifest.kind == "onnx":
            raise ConfigError(
                f"--out {out} is an artifact with a graph, which the engine alone would replace; "
                "choose another"
            )


def _known_issues(manifest: Manifest, options: EngineOptions) -> dict[str, None]:
    """Return one line for each known issue of what is about to be built, without repetitions."""
    known = sorted({*(options.compute_capabilities or capabilities_here())})
    capabilities: list[str | None] = [*known] if known else [None]
    return dict.fromkeys(
        warning
        for capability in capabilities
        for warning in warnings_for(
            backend=options.backend,
            version=installed_version(options.backend) or "",
            compute_capability=capability,
            precision=manifest.precision,
            attention=manifest.attention,
        )
    )


def _check_engine(
    engine: EngineEntry, manifest: Manifest, options: EngineOptions, *, on_message: OnMessage
) -> None:
    report = engine.report
    # TensorRT may also hold whole pictures of an input of any size.
    tells = engine.backend == "tensorrt-rtx" or not manifest.input.any_size
    check_report(
        report,
        precision=manifest.precision,
        attention=manifest.attention,
        float32_layers=manifest.graph.compute_nodes.get("float32", 0),
        unfused_bytes=unfused_bytes(
            manifest.source.config, precision=manifest.precision, batch=engine.profile.max_batch
        )
        if tells
        else None,
    )
    # An attention may stay unfused; that is slow, and FP16 scores may overflow.
    all_float32 = report.matrix_layers.keys() == {"float32"}
    fused, attentions = report.attention_fused, report.attention_layers
    if not all_float32 and fused is not None and fused < attentions:
        hints = [name for name, given in _restrictions(options).items() if given]
        hint = f"; {' and '.join(hints)} can prevent it" if hints else ""
        on_message(f"only {fused} of {attentions} attentions were fused by the compiler{hint}")


def _restrictions(options: EngineOptions) -> dict[str, bool]:
    """Return the options that take kernels away from the builder, and whether they were given."""
    return {
        "--optimisation-level 0": options.optimisation_level == 0,
        "--hardware-compatibility": options.hardware_compatibility != "none",
        "--version-compatible": options.version_compatible,
    }


def _manifest_with(manifest: Manifest, engine: EngineEntry, file: Path) -> Manifest:
    entry = FileEntry(path=engine.path, size=file.stat().st_size, sha256=sha256_of(file))
    files = (*(other for other in manifest.files if other.path != engine.path), entry)
    engines = (*(other for other in manifest.engines if other.backend != engine.backend), engine)
    return msgspec.structs.replace(manifest, files=files, engines=engines)


def _compare_with_pytorch(
    artifact: Artifact,
    backend: EngineBackend,
    reference: tuple[NDArray[np.uint8], Outputs],
    *,
    on_message: OnMessage,
) -> Manifest:
    """Run the engine on the reference if this machine can; if it has a GPU and cannot, say why."""
    manifest = artifact.manifest
    try:
        comparison = parity_run.compare_runtime(backend, artifact, *reference)
    except (MissingDependencyError, RuntimeUnavailableError) as error:
        if cuda_device_count() > 0:
            on_message(f"the engine was not run here: {error}")
        return manifest
    if not comparison.passed:
        hint = ""
        if (manifest.precision, manifest.attention) == ("fp16", "fused"):
            hint = (
                "; TensorRT accumulates a fused attention in FP16, which PyTorch does not: "
                "--attention decomposed or --precision bf16 may pass"
            )
        raise EngineError(
            f"the {backend} engine is too far from PyTorch: {'; '.join(comparison.failures)}{hint}"
        )
    return add_comparisons(manifest, [comparison])


def _keep_engine_alone(
    artifact: Artifact, manifest: Manifest, backend: EngineBackend, workspace: Path
) -> Manifest:
    """Copy what was measured of the model, and return a manifest without the graph."""
    (engine,) = (entry for entry in manifest.engines if entry.backend == backend)
    measured = (manifest.reference, manifest.calibration, manifest.escalation)
    copied = [path for path in measured if path is not None]
    copy_files(artifact, copied, workspace)
    kept = {engine.path, *copied}
    files = tuple(entry for entry in manifest.files if entry.path in kept)
    return msgspec.structs.replace(
        manifest, kind="engine", model=engine.path, files=files, engines=(engine,), reports=()
    )

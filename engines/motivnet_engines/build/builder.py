"""An engine file from an ONNX graph, built in a child process."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from motivnet.artifact.engine_entry import EngineBackend, EngineEntry
from motivnet.artifact.manifest import Manifest
from motivnet.child_process import ChildProcess, describe_exit
from motivnet.errors import (
    ArtifactError,
    ConfigError,
    EngineError,
    FileError,
    MissingDependencyError,
    MotivNetError,
    RuntimeUnavailableError,
)
from motivnet.files import atomic_path, open_regular
from motivnet.schema import SchemaError
from motivnet.terminal import progress
from motivnet_engines.build.messages import Advance, Failure, Request, Stage, Success
from motivnet_engines.build.options import EngineOptions, check_options
from motivnet_engines.runtimes.tensorrt.api import EXTRAS, MODULES
from motivnet_engines.runtimes.tensorrt.compatibility import this_platform
from motivnet_engines.runtimes.tensorrt.log import tail_of_output

WORKER = "motivnet_engines.build.worker"
GRACE = 0.5
"""Seconds in which an interrupted build may end by itself, before its process is killed."""

_ERRORS: dict[str, type[MotivNetError]] = {
    kind.__name__: kind for kind in (ArtifactError, ConfigError, FileError, RuntimeUnavailableError)
}


def engine_from_onnx(
    onnx: Path,
    out: Path,
    *,
    manifest: Manifest,
    options: EngineOptions,
    on_message: Callable[[str], None],
) -> EngineEntry:
    """Compile the graph of an artifact into the file ``out``, and return its manifest's entry.

    The file appears whole or not at all. A ``KeyboardInterrupt`` ends the build and leaves nothing
    behind; its process is killed after ``GRACE`` seconds.

    Args:
        onnx: The graph, with external weights beside it.
        manifest: What the graph is promised to be.
        on_message: Called with each of the builder's warnings.

    Raises:
        ConfigError: If no machine could build this.
        RuntimeUnavailableError: If this machine cannot build it.
        MissingDependencyError: If the backend's package is not installed.
        EngineError: If the parser or the compiler refuses the graph, or crashes.
        FileError: If ``onnx`` is no regular file, or ``out`` cannot be written.
    """
    check_options(options, manifest)
    open_regular(onnx).close()
    started = time.monotonic()
    with (
        atomic_path(out) as temporary,
        progress(f"building the {options.backend} engine", total=1.0) as advance,
    ):
        success = build_in_child(
            onnx, temporary, manifest=manifest, options=options, on_advance=advance
        )
    for warning in success.warnings:
        on_message(f"{options.backend}: {warning}")
    return EngineEntry(
        backend=options.backend,
        path=out.name,
        onnx_sha256=manifest.entry(manifest.model).sha256,
        version=success.version,
        platform=this_platform(),
        precision=manifest.precision,
        attention=manifest.attention,
        compute_capabilities=options.compute_capabilities,
        device=success.device,
        profile=options.profile_for(manifest),
        hardware_compatibility=options.hardware_compatibility,
        version_compatible=options.version_compatible,
        weight_streaming=options.weight_streaming,
        build_seconds=time.monotonic() - started,
        build_peak_bytes=success.peak_bytes,
        report=success.report,
    )


def build_in_child(
    onnx: Path,
    out: Path,
    *,
    manifest: Manifest,
    options: EngineOptions,
    on_advance: Callable[[float], None],
) -> Success:
    """Have a child process write the engine to ``out``, and return what it says of it.

    Args:
        on_advance: Called with how much more of the compilation is done, as a fraction.

    Raises:
        MotivNetError: The error of that process; an ``EngineError`` if it crashed.
    """
    paths = [path for path in (onnx, out, options.timing_cache) if path is not None]
    with ChildProcess(WORKER, *(str(path.absolute()) for path in paths), grace=GRACE) as child:
        child.messages.send(Request(manifest=manifest, options=replace(options, timing_cache=None)))
        stage, outcome = _follow(child, on_advance)
        status, output = child.wait(), child.output()
    if isinstance(outcome, Success) and status == 0:
        return outcome
    if isinstance(outcome, Failure):
        raise _error_from_failure(outcome, output, options.backend)
    raise _crash_error(stage, status, output)


def _follow(
    child: ChildProcess, on_advance: Callable[[float], None]
) -> tuple[str, Success | Failure | None]:
    """Return the last stage that the builder reported, and its outcome; None if it crashed."""
    stage, reached = "starting", 0.0
    outcome: Success | Failure | None = None
    while (message := _receive(child)) is not None:
        match message:
            case Stage():
                stage = message.stage
            case Advance():
                on_advance(message.fraction - reached)
                reached = message.fraction
            case _:
                outcome = message
    return stage, outcome


def _receive(child: ChildProcess) -> Stage | Advance | Success | Failure | None:
    try:
        message: Stage | Advance | Success | Failure | None = child.messages.receive(
            Stage | Advance | Success | Failure
        )
    except SchemaError:  # written by a process that is broken, and about to end
        return None
    return message


def _error_from_failure(failure: Failure, output: str, backend: EngineBackend) -> MotivNetError:
    if failure.error == "MissingDependencyError":
        return MissingDependencyError(MODULES[backend], extra=EXTRAS[backend])
    if failure.error in _ERRORS:
        return _ERRORS[failure.error](failure.message)
    return EngineError(
        failure.message, problems=failure.problems, log=(*failure.log, *tail_of_output(output))
    )


def _crash_error(stage: str, status: int, output: str) -> Exception:
    if status >= 0 and "Traceback (most recent call last)" in output:
        return RuntimeError(f"a bug in the builder while {stage}:\n{output}")
    hint = ", most often because the graph is damaged" if status == -signal.SIGSEGV else ""
    return EngineError(
        f"while {stage}, the builder {describe_exit(status)}{hint}", log=tail_of_output(output)
    )

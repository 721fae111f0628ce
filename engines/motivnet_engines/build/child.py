"""The other side of ``worker.py``: starts the process, hears it, and ends it whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from motivnet.artifact.manifest import EngineBackend
from motivnet.child_process import isolated_module
from motivnet.errors import (
    ArtifactError,
    ConfigError,
    EngineError,
    FileError,
    MissingDependencyError,
    MotivNetError,
    RuntimeUnavailableError,
)
from motivnet.strict_json import StrictJSONError
from motivnet_engines.build.messages import (
    Advance,
    Failure,
    Report,
    Request,
    Stage,
    Success,
    read_message,
    write_message,
)
from motivnet_engines.runtimes.tensorrt.api import EXTRAS, MODULES
from motivnet_engines.runtimes.tensorrt.log import tail_of_output

WORKER = "motivnet_engines.build.worker"
_GRACE = 0.5
"""Seconds in which a build may stop by itself; then its process is killed."""

_MAX_OUTPUT = 1 << 16
_HINTS = {
    "SIGKILL": "most often because the memory ran out",
    "SIGSEGV": "most often because the graph is damaged",
}
_ERRORS: dict[str, type[MotivNetError]] = {
    kind.__name__: kind for kind in (ArtifactError, ConfigError, FileError, RuntimeUnavailableError)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """How a process ended: its last stage, its outcome if it named one, its exit status and what it printed."""

    stage: str
    outcome: Success | Failure | None
    status: int
    output: str


def run_worker(
    onnx: Path, out: Path, *, request: Request, on_advance: Callable[[float], None]
) -> Success:
    """What a fresh process says of the engine that it wrote to ``out``.

    At a ``KeyboardInterrupt`` the process is stopped, within a second, and the interrupt goes on.

    Args:
        on_advance: Hears the fraction of the compilation that is done.

    Raises:
        MotivNetError: What went wrong in that process, such as ``EngineError``, which also tells of
        a crash.
    """
    end = _run(onnx, out, request, on_advance)
    if isinstance(end.outcome, Success) and end.status == 0:
        return end.outcome
    if isinstance(end.outcome, Failure):
        raise _failure_error(end.outcome, end.output, request.options.backend)
    raise _crash_error(end)


def _run(onnx: Path, out: Path, request: Request, on_advance: Callable[[float], None]) -> _End:
    cache = request.options.timing_cache
    paths = [str(path.absolute()) for path in (onnx, out, *([cache] if cache else []))]
    request = replace(request, options=replace(request.options, timing_cache=None))
    stage, outcome = "starting", None
    with tempfile.TemporaryFile() as output:
        with _worker(request.options.backend, paths, output) as (process, reports):
            _send(process, request)
            for report in _reports(reports):
                if isinstance(report.body, Stage):
                    stage = report.body.stage
                elif isinstance(report.body, Advance):
                    on_advance(report.body.fraction)
                else:
                    outcome = report.body
            status = process.wait()
        return _End(stage=stage, outcome=outcome, status=status, output=_text_of(output))


@contextlib.contextmanager
def _worker(
    backend: EngineBackend, paths: Sequence[str], output: IO[bytes]
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """The process and its reports; it is gone at the end of the block, however that ends.

    A session of its own keeps a Ctrl-C at the terminal from it: TensorRT swallows an interrupt
    inside its callbacks.
    """
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reports:
        try:
            process = subprocess.Popen(  # noqa: S603
                isolated_module(WORKER, backend, str(writing), *paths),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=(writing,),
                start_new_session=True,
            )
        finally:
            os.close(writing)
        try:
            yield process, reports
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a process: the end of its input asks it to stop, and if it does not, it is killed."""
    try:
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_GRACE)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _send(process: subprocess.Popen[bytes], request: Request) -> None:
    if process.stdin is not None:
        with contextlib.suppress(
            BrokenPipeError
        ):  # it died at once; the end of its reports says so
            write_message(process.stdin, request)


def _reports(stream: IO[bytes]) -> Iterator[Report]:
    """Every report up to the end of the stream; one that cannot be read counts as the end of a broken process."""
    with contextlib.suppress(StrictJSONError):
        while (report := read_message(stream, Report)) is not None:
            yield report


def _text_of(output: IO[bytes]) -> str:
    """The end of what the process printed; NVIDIA's libraries print some reasons that they do not log."""
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - _MAX_OUTPUT))
    return output.read().decode(errors="replace")


def _failure_error(failure: Failure, output: str, backend: EngineBackend) -> MotivNetError:
    if failure.error == "MissingDependencyError":
        return MissingDependencyError(MODULES[backend], extra=EXTRAS[backend])
    if failure.error in _ERRORS:
        return _ERRORS[failure.error](failure.message)
    return EngineError(
        failure.message, problems=failure.problems, log=(*failure.log, *tail_of_output(output))
    )


def _crash_error(end: _End) -> Exception:
    log = tail_of_output(end.output)
    if end.status < 0:
        name = signal.Signals(-end.status).name
        hint = f", {_HINTS[name]}" if name in _HINTS else ""
        return EngineError(f"the builder was ended by {name} while {end.stage}{hint}", log=log)
    if "Traceback (most recent call last)" in end.output:
        return RuntimeError(f"a fault in the builder while {end.stage}:\n{end.output}")
    return EngineError(
        f"the builder ended with status {end.status} while {end.stage} and gave no reason", log=log
    )

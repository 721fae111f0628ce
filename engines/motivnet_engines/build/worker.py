"""The process in which an engine is built, started by ``child.py``: one build and no more.

A failed build changes the next one in its process, a parser can crash on a damaged file, and
TensorRT keeps one logger per process; in here none of that reaches the caller.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import IO

from motivnet.errors import EngineError, MotivNetError
from motivnet_engines.build.addresses import restart_with_fixed_addresses
from motivnet_engines.build.compilation import Listeners, compile_engine
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

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Builds what standard input asks for; the end of that stream stops the build.

    The arguments are the backend, the descriptor for reports, the graph, the engine to write and,
    if any, the timing cache.
    """
    backend, descriptor, onnx, out, *timing_cache = sys.argv[1:]
    _die_with_parent()
    if (
        backend == "tensorrt-rtx"
    ):  # tensorrt times kernels, and no two builds of it are the same anyway
        restart_with_fixed_addresses()
    request = read_message(sys.stdin.buffer, Request)
    if request is None:  # whoever asked is gone
        return
    if timing_cache:
        request = replace(
            request, options=replace(request.options, timing_cache=Path(timing_cache[0]))
        )
    reports = os.fdopen(int(descriptor), "wb")
    listeners = _listeners(reports)
    outcome = _outcome(request, Path(onnx), Path(out), listeners=listeners)
    write_message(reports, Report(body=outcome))
    # No destructor of TensorRT may spoil a build whose engine is written.
    os._exit(0)


def _outcome(request: Request, onnx: Path, out: Path, *, listeners: Listeners) -> Success | Failure:
    try:
        return compile_engine(
            onnx, out, manifest=request.manifest, options=request.options, listeners=listeners
        )
    except EngineError as error:
        return Failure(
            error="EngineError", message=str(error), problems=error.problems, log=error.log
        )
    except MotivNetError as error:
        return Failure(error=type(error).__name__, message=str(error))


def _listeners(reports: IO[bytes]) -> Listeners:
    """The builder may call from threads of its own, so one message is written at a time."""
    lock = threading.Lock()

    def tell(body: Stage | Advance) -> None:
        with lock:
            write_message(reports, Report(body=body))

    return Listeners(
        stage=lambda stage: tell(Stage(stage=stage)),
        fraction=lambda fraction: tell(Advance(fraction=fraction)),
        cancelled=_input_has_ended,
    )


def _input_has_ended() -> bool:
    """Whether the build is to stop: nothing but its end comes after the request.

    Asked by the builder after each step; a thread that waits for it would change the addresses of
    what is built.
    """
    return bool(select.select([sys.stdin.fileno()], [], [], 0)[0])


def _die_with_parent() -> None:
    """Has the kernel kill this process when the one that asked for the engine dies, however that happens."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()

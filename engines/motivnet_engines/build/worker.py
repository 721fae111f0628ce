"""The process in which ``builder`` has one engine built.

A failed build affects the next one in its process, a parser can crash on a damaged file, and
TensorRT has one logger per process; none of that reaches the caller.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from motivnet.child_process import connect_to_parent
from motivnet.errors import EngineError, MotivNetError
from motivnet_engines.build.compile import compile_engine
from motivnet_engines.build.messages import Failure, Request, Success


def main() -> None:
    """Build what the parent asks for; the end of its messages stops the build.

    The arguments are the graph, the engine to write and, if any, the timing cache.
    """
    parent = connect_to_parent()
    onnx, out, *timing_cache = map(Path, sys.argv[1:])
    request: Request | None = parent.receive(Request)
    if request is None:  # the parent has ended
        return
    options = request.options
    if timing_cache:
        options = replace(options, timing_cache=timing_cache[0])
    outcome: Success | Failure
    try:
        outcome = compile_engine(
            onnx, out, manifest=request.manifest, options=options, parent=parent
        )
    except EngineError as error:
        outcome = Failure(
            error="EngineError", message=str(error), problems=error.problems, log=error.log
        )
    except MotivNetError as error:
        outcome = Failure(error=type(error).__name__, message=str(error))
    parent.send(outcome)
    # A failing destructor of TensorRT must not spoil a build whose engine is written.
    os._exit(0)


if __name__ == "__main__":
    main()

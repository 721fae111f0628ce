"""The builder's progress, and the one way to stop it: it asks after every step whether to go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from motivnet_engines.build.phases import Phases
from motivnet_engines.runtimes.tensorrt.api import Api

_LEAST = 0.01
"""Smaller advances are not reported: a build has thousands of steps."""


def monitor_of(api: Api, *, cancelled: Callable[[], bool], report: Callable[[float], None]) -> Any:
    """A progress monitor that reports the fraction done and stops the build once ``cancelled`` says
    so.

    Made here, because its base is the package's.
    """
    phases = Phases()
    reported = 0.0

    def tell() -> None:
        nonlocal reported
        if (fraction := phases.fraction) >= reported + _LEAST:
            reported = fraction
            report(fraction)

    class Monitor(api.trt.IProgressMonitor):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            api.trt.IProgressMonitor.__init__(self)

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            phases.start(name, parent=parent, steps=steps)

        def step_complete(self, name: str, _step: int) -> bool:
            phases.step(name)
            tell()
            return not cancelled()

        def phase_finish(self, name: str) -> None:
            phases.finish(name)

    return Monitor()

"""The builder's progress, and how it is stopped: it asks after every step whether to continue."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from motivnet_engines.runtimes.tensorrt.api import Api

_LEAST = 0.01
"""Smaller advances are not reported: a build has thousands of steps."""


@dataclass(slots=True, kw_only=True)
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class BuildProgress:
    """The fraction of a build that is done, from the nested phases that the builder reports.

    A phase has a number of steps, and a phase inside it is a part of its current step. Names are
    unique among the current phases. The builder calls from its own threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: dict[str, _Phase] = {}
        self._reached = 0.0

    def start(self, name: str, *, parent: str | None, steps: int) -> None:
        """Begin a phase, within another or as a root."""
        with self._lock:
            self._active[name] = _Phase(parent=parent, steps=max(1, steps))

    def step(self, name: str) -> None:
        """Count one more step of a phase."""
        with self._lock:
            if phase := self._active.get(name):
                phase.done = min(phase.done + 1, phase.steps)

    def finish(self, name: str) -> None:
        """End a phase, complete or cancelled."""
        with self._lock:
            self._active.pop(name, None)

    @property
    def fraction(self) -> float:
        """From 0 to 1; it never decreases, although a phase may end before its last step."""
        with self._lock:
            self._reached = max(self._reached, self._inside(None))
            return self._reached

    def _inside(self, parent: str | None) -> float:
        """Return the largest fraction among the phases inside a phase, 0 without any."""
        fractions = [
            (phase.done + self._inside(name)) / phase.steps
            for name, phase in self._active.items()
            if phase.parent == parent
        ]
        return min(1.0, max(fractions, default=0.0))


def create_monitor(
    api: Api, *, is_cancelled: Callable[[], bool], on_fraction: Callable[[float], None]
) -> Any:
    """Return a progress monitor for the builder, which it stops once ``is_cancelled`` is true."""
    progress = BuildProgress()
    reported = 0.0

    def report() -> None:
        nonlocal reported
        if (fraction := progress.fraction) >= reported + _LEAST:
            reported = fraction
            on_fraction(fraction)

    class Monitor(api.trt.IProgressMonitor):  # type: ignore[misc,name-defined]
        """Defined in a function, because its base class is the package's."""

        def __init__(self) -> None:
            api.trt.IProgressMonitor.__init__(self)

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            progress.start(name, parent=parent, steps=steps)

        def step_complete(self, name: str, _step: int) -> bool:
            progress.step(name)
            report()
            return not is_cancelled()

        def phase_finish(self, name: str) -> None:
            progress.finish(name)

    return Monitor()

"""How far a build is, out of the nested phases that the builder reports."""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class Phases:
    """The phases that are under way; their fraction never falls.

    A phase has a number of steps, and a phase inside it is a part of the step that is being made.
    Names are unique among the phases under way. The builder calls from threads of its own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: dict[str, _Phase] = {}
        self._reached = 0.0

    def start(self, name: str, *, parent: str | None, steps: int) -> None:
        """A phase begins, within another or as a root."""
        with self._lock:
            self._active[name] = _Phase(parent=parent, steps=max(1, steps))

    def step(self, name: str) -> None:
        """One more step of a phase is complete."""
        with self._lock:
            if phase := self._active.get(name):
                phase.done = min(phase.done + 1, phase.steps)

    def finish(self, name: str) -> None:
        """A phase ends, complete or cancelled."""
        with self._lock:
            self._active.pop(name, None)

    @property
    def fraction(self) -> float:
        """From 0 to 1, the furthest that was reached so far."""
        with self._lock:
            here = max(
                (
                    self._within(name)
                    for name, phase in self._active.items()
                    if phase.parent is None
                ),
                default=0,
            )
            self._reached = max(self._reached, here)
            return self._reached

    def _within(self, name: str) -> float:
        phase = self._active[name]
        inner = max(
            (self._within(child) for child, of in self._active.items() if of.parent == name),
            default=0.0,
        )
        return min(1.0, (phase.done + inner) / phase.steps)

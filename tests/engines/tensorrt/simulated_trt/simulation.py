"""One simulated package: its module, what went wrong in it, and what is told to fail."""

from __future__ import annotations

import importlib.machinery
import types
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

from . import names
from .engine import RtxRuntime, Runtime


class Simulation:
    """One simulated package: its module, what went wrong, and what is told to fail.

    Args:
        driver: The fake CUDA driver.
        rtx: Whether it is TensorRT-RTX: runtime cache, CUDA graphs of its own, validity of headers.
        version: Its version; before 10.12 there is no runtime configuration.
    """

    def __init__(self, driver: Any, *, rtx: bool = False, version: str = "10.16.1.11") -> None:
        self.driver = driver
        self.rtx = rtx
        self.has_config = rtx or tuple(map(int, version.split(".")[:2])) >= (10, 12)
        self.mistakes: list[str] = []
        self.alive: Counter[str] = Counter()
        self.made: Counter[str] = Counter()
        self.kernels = 0
        self.compiled: list[str] = []
        self.budgets: list[int] = []
        self.configs: list[weakref.ref[Any]] = []
        self.validity: tuple[names.EngineValidity, int] = (names.EngineValidity.VALID, 0)
        self.tensor_dtypes: dict[str, names.DataType] = {}
        self.logger: Any = None
        self.while_a_context_is_made: Callable[[], object] = lambda: None
        self._failures: Counter[str] = Counter()
        self.module = self._module(version)

    def fail_next(self, method: str, *, times: int = 1) -> None:
        """Make the next calls of a method fail as TensorRT's do: None or False, and a log line."""
        self._failures[method] += times

    def assert_clean(self) -> None:
        assert self.mistakes == []
        assert +self.alive == Counter()

    def fails(self, method: str) -> bool:
        if not self._failures[method]:
            return False
        self._failures[method] -= 1
        self.say(names.Severity.ERROR, f"Error Code 1: {method} was told to fail")
        return True

    def say(self, severity: names.Severity, text: str) -> None:
        if self.logger is not None:
            self.logger.log(severity, text)

    def born(self, thing: object, kind: str, *, before: tuple[str, ...]) -> None:
        """Notes an object, which must die inside a CUDA context, and before those that it was made
        from.

        ``before`` are the kinds that must be gone when this one goes.
        """
        self.check_context(f"{kind} is made")
        self.alive[kind] += 1
        self.made[kind] += 1
        weakref.finalize(thing, self._died, kind, before)

    def _died(self, kind: str, before: tuple[str, ...]) -> None:
        self.alive[kind] -= 1
        self.check_context(f"{kind} is freed")
        self.mistakes += [
            f"{kind} is freed before its {other}" for other in before if self.alive[other]
        ]

    def check_context(self, what: str) -> None:
        if self.driver.context_stack_depth() == 0:
            self.mistakes.append(f"{what} without a current CUDA context")

    def _module(self, version: str) -> types.ModuleType:
        name = "tensorrt_rtx" if self.rtx else "tensorrt"
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        for thing in names.RTX if self.rtx else names.EVERYWHERE:
            setattr(module, thing.__name__, thing)
        module.__version__ = version  # type: ignore[attr-defined]
        runtime = RtxRuntime if self.rtx else Runtime
        module.Runtime = lambda logger: runtime(self, logger)  # type: ignore[attr-defined]
        return module

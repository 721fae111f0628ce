"""CUDA graphs of the input shapes that come again: one launch instead of hundreds of kernels.

A captured graph is bound to the state of its execution context, and changing that context's shape
makes the graph undefined; so each graph has a context of its own. They share the activation memory
of their lane, on whose one stream they run one after another.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from motivnet.errors import EngineError
from motivnet_engines.runtimes.tensorrt.cuda.base import CudaMemory
from motivnet_engines.runtimes.tensorrt.execution import Execution
from motivnet_engines.runtimes.tensorrt.tensors import Shape

logger = logging.getLogger(__name__)

MAX_GRAPHS = 8
WORTH_EVICTING = 8
"""How often a shape must come before it takes the place of a graph that was not used meanwhile.

With more recurring shapes than graphs, to evict at once would mean a capture for every call.
"""
_MAX_SEEN = 64

T = TypeVar("T")


class CaptureSwitch:
    """Whether graphs are captured, for all lanes of a runtime: off after the first capture that fails."""

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled
        self._lock = threading.Lock()

    @property
    def enabled(self) -> bool:
        """Whether another graph may be captured."""
        return self._enabled

    def turn_off(self, error: EngineError) -> None:
        """No more captures; says so once."""
        with self._lock:
            was, self._enabled = self._enabled, False
        if was:
            logger.warning(
                "CUDA graphs are off for this engine, which runs without them: %s", error
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Graph:
    executable: Any
    execution: Execution


class ShapeGraphs:
    """The graphs of one lane, by input shape; at most ``MAX_GRAPHS``, the least recently used
    leaves first.

    A shape is captured when it comes for the second time, and once there are as many graphs as
    there may be, when it came ``WORTH_EVICTING`` times since the least recently used one was
    launched.

    All methods must be called inside ``CudaMemory.current``, by one thread at a time and with the
    stream idle.

    Args:
        memory: What captures and launches.
        stream: The lane's stream.
        new_execution: Another context with the buffers of the lane.
        switch: Whether to capture at all.
    """

    def __init__(
        self,
        memory: CudaMemory,
        *,
        stream: int,
        new_execution: Callable[[], Execution],
        switch: CaptureSwitch,
    ) -> None:
        self._memory = memory
        self._stream = stream
        self._new_execution = new_execution
        self._switch = switch
        self._graphs: OrderedDict[Shape, _Graph] = OrderedDict()
        self._seen: OrderedDict[Shape, int] = OrderedDict()

    def launch(self, shape: Shape) -> bool:
        """Whether there is a graph of this shape; its copies and kernels are under way then."""
        graph = self._graphs.get(shape)
        if graph is None:
            return False
        if self._is_full and shape == next(iter(self._graphs)):
            self._seen.clear()  # they count from the last use of the graph whose place they would take
        self._graphs.move_to_end(shape)
        self._memory.launch(graph.executable, self._stream)
        return True

    def ran_without(self, shape: Shape) -> None:
        """Notes that a shape was run without a graph, and captures one when that came often enough.

        A shape that never comes again, as images of any size have, costs nothing so.
        """
        if not self._switch.enabled:
            return
        self._seen[shape] = self._seen.pop(shape, 0) + 1
        if self._seen[shape] < (WORTH_EVICTING if self._is_full else 2):
            _trim(self._seen, _MAX_SEEN)
            return
        del self._seen[shape]
        try:
            self._graphs[shape] = self._captured(shape)
        except EngineError as error:
            self._switch.turn_off(error)
        for graph in _trim(self._graphs, MAX_GRAPHS):
            self._destroy(graph)

    def close(self) -> None:
        """Destroys every graph and its context; a second call does nothing."""
        with contextlib.ExitStack() as stack:
            for graph in self._graphs.values():
                stack.callback(self._destroy, graph)
            self._graphs.clear()

    @property
    def _is_full(self) -> bool:
        return len(self._graphs) >= MAX_GRAPHS

    def _captured(self, shape: Shape) -> _Graph:
        """A graph of the shape. Its context runs once before: the work that a new shape brings cannot be captured."""
        execution = self._new_execution()
        try:
            execution.prepare(shape)
            execution.enqueue()
            self._memory.synchronize(self._stream)
            return _Graph(executable=self._capture(execution), execution=execution)
        except BaseException:
            with contextlib.suppress(EngineError):
                self._memory.synchronize(self._stream)
            execution.close()
            raise

    def _capture(self, execution: Execution) -> Any:
        self._memory.begin_capture(self._stream)
        try:
            execution.enqueue()
        except BaseException:
            with contextlib.suppress(
                EngineError
            ):  # what was captured is not wanted, and may be no graph
                self._memory.destroy_graph(self._memory.end_capture(self._stream))
            raise
        return self._memory.end_capture(self._stream)

    def _destroy(self, graph: _Graph) -> None:
        try:
            self._memory.destroy_graph(graph.executable)
        finally:
            graph.execution.close()


def _trim(mapping: OrderedDict[Shape, T], size: int) -> list[T]:
    """The oldest values beyond ``size``, which are taken out."""
    return [mapping.popitem(last=False)[1] for _ in range(len(mapping) - size)]

"""CUDA graphs of recurring input shapes: one launch instead of hundreds of kernels.

A captured graph is bound to the state of its execution context, and changing the shape of that
context makes the graph undefined, so each graph has its own context. The contexts of one stream
share their activation memory, because they run one after another.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Any

from motivnet.errors import EngineError
from motivnet_engines.runtimes.tensorrt.context import ExecutionContext, Shape
from motivnet_engines.runtimes.tensorrt.cuda.base import CudaMemory

logger = logging.getLogger(__name__)

MAX_GRAPHS = 8
_MAX_SEEN = 64


class CaptureSwitch:
    """Whether the contexts of a runtime capture graphs: off after the first failed capture."""

    def __init__(self, *, enabled: bool) -> None:
        self.enabled = enabled
        self._lock = threading.Lock()

    def turn_off(self, error: EngineError) -> None:
        """Disable further captures, and log the reason once."""
        with self._lock:
            was, self.enabled = self.enabled, False
        if was:
            logger.warning(
                "CUDA graphs are off for this engine, which runs without them: %s", error
            )


class ShapeGraphs:
    """The graphs of one stream by input shape: the first ``MAX_GRAPHS`` shapes that come twice.

    All methods must be called inside ``CudaMemory.current``, by one thread at a time and with the
    stream idle.

    Args:
        memory: Captures and launches.
        stream: Where the graphs run.
        new_context: Creates another context with the same buffers.
        switch: Whether to capture at all.
    """

    def __init__(
        self,
        memory: CudaMemory,
        *,
        stream: int,
        new_context: Callable[[], ExecutionContext],
        switch: CaptureSwitch,
    ) -> None:
        self._memory = memory
        self._stream = stream
        self._new_context = new_context
        self._switch = switch
        self._graphs: dict[Shape, tuple[Any, ExecutionContext]] = {}
        self._seen: set[Shape] = set()

    def launch(self, shape: Shape) -> bool:
        """Launch the graph of a shape; False if there is none."""
        if shape not in self._graphs:
            return False
        graph, _ = self._graphs[shape]
        self._memory.launch(graph, self._stream)
        return True

    def ran_without(self, shape: Shape) -> None:
        """Note that a shape ran without a graph, and capture one if it is the second time.

        A shape that never comes again, as images of any size have, costs nothing this way.
        """
        if not self._switch.enabled or len(self._graphs) >= MAX_GRAPHS:
            return
        if shape not in self._seen:
            if len(self._seen) >= _MAX_SEEN:
                self._seen.clear()
            self._seen.add(shape)
            return
        self._seen.remove(shape)
        try:
            self._graphs[shape] = self._capture(shape)
        except EngineError as error:
            self._switch.turn_off(error)

    def close(self) -> None:
        """Destroy every graph and its context; may be called again."""
        with contextlib.ExitStack() as stack:
            for graph, context in self._graphs.values():
                stack.callback(context.close)
                stack.callback(self._memory.destroy_graph, graph)
            self._graphs.clear()

    def _capture(self, shape: Shape) -> tuple[Any, ExecutionContext]:
        """Capture a graph; its context runs once before, because a new shape's set-up cannot be."""
        context = self._new_context()
        try:
            context.prepare(shape)
            context.enqueue()
            self._memory.synchronize(self._stream)
            return self._record(context), context
        except BaseException:
            with contextlib.suppress(EngineError):
                self._memory.synchronize(self._stream)
            context.close()
            raise

    def _record(self, context: ExecutionContext) -> Any:
        self._memory.begin_capture(self._stream)
        try:
            context.enqueue()
        except BaseException:
            # The capture must end; what it recorded is incomplete and may not be a graph.
            with contextlib.suppress(EngineError):
                self._memory.destroy_graph(self._memory.end_capture(self._stream))
            raise
        return self._memory.end_capture(self._stream)

"""Execution contexts of TensorRT, bound to a stream and to buffers, and their CUDA graphs.

A CUDA graph is one launch instead of hundreds of kernels. A captured graph is bound to the state of
its execution context, and changing the shape of that context makes the graph undefined, so each
graph has its own context. The contexts of one stream share their activation memory, because they
run one after another.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motivnet.errors import EngineError
from motivnet.runtime import TensorSpec
from motivnet_engines.runtimes.tensorrt.cuda.base import Bytes, CudaMemory
from motivnet_engines.runtimes.tensorrt.engine import Engine

logger = logging.getLogger(__name__)

MAX_GRAPHS = 8
_MAX_SEEN = 64

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffer:
    """Pinned memory and device memory of a tensor, both for the profile's largest shape."""

    name: str
    dtype: str
    max_shape: Shape
    pinned: Bytes
    address: int

    def view(self, shape: Shape) -> NDArray[Any]:
        """Return the pinned bytes as an array of this shape."""
        return self.pinned[: self.size(shape)].view(self.dtype).reshape(shape)

    def size(self, shape: Shape) -> int:
        """Return the bytes of a tensor of this shape."""
        return math.prod(shape) * np.dtype(self.dtype).itemsize


def allocate_buffer(
    memory: CudaMemory, spec: TensorSpec, max_shape: Shape, stack: contextlib.ExitStack
) -> Buffer:
    """Allocate both memories of a tensor, freed when the stack is closed."""
    size = math.prod(max_shape) * np.dtype(spec.dtype).itemsize
    pinned = memory.allocate_pinned(size)
    stack.callback(memory.free_pinned, pinned)
    address = memory.allocate(size)
    stack.callback(memory.free, address)
    return Buffer(
        name=spec.name, dtype=spec.dtype, max_shape=max_shape, pinned=pinned, address=address
    )


class ExecutionContext:
    """Enqueues an inference on one stream: input copy, kernels, output copies.

    All methods must be called inside ``CudaMemory.current`` and by one thread at a time.

    Args:
        scratch: Address of ``engine.scratch_bytes`` of device memory, which contexts on one stream
            may share.
    """

    def __init__(
        self,
        engine: Engine,
        memory: CudaMemory,
        *,
        stream: int,
        source: Buffer,
        targets: tuple[Buffer, ...],
        scratch: int,
    ) -> None:
        self._engine = engine
        self._memory = memory
        self._stream = stream
        self._source = source
        self._targets = targets
        self._shape: Shape | None = None
        self._context: Any = engine.new_context()
        try:
            self._bind(scratch)
        except BaseException:
            self.close()
            raise

    def prepare(self, shape: Shape) -> None:
        """Set the input's shape for the next ``enqueue``, unless it is set already.

        Raises:
            EngineError: With TensorRT's message, if it refuses the shape or infers other shapes
                for the outputs than expected.
        """
        if shape == self._shape:
            return
        self._shape = None
        if not self._context.set_input_shape(self._source.name, shape):
            raise self._engine.failure(f"TensorRT refuses the input shape {shape}")
        self._check_shapes(shape[0])
        self._shape = shape

    def enqueue(self) -> None:
        """Enqueue an inference of the prepared shape, without waiting for it.

        Raises:
            EngineError: With the message of CUDA or TensorRT.
        """
        if self._shape is None:
            raise AssertionError("prepare comes before enqueue")
        source = self._source
        self._memory.copy_to_device(
            source.address, source.pinned, source.size(self._shape), self._stream
        )
        if not self._context.execute_async_v3(self._stream):
            raise self._engine.failure("TensorRT could not start the inference")
        for target in self._targets:
            size = target.size((self._shape[0], *target.max_shape[1:]))
            self._memory.copy_to_host(target.pinned, target.address, size, self._stream)

    def close(self) -> None:
        """Free the context, once nothing that it enqueued is running; may be called again."""
        self._context = None

    def _bind(self, scratch: int) -> None:
        if size := self._engine.scratch_bytes:
            self._context.set_device_memory(scratch, size)
        for buffer in (self._source, *self._targets):
            if not self._context.set_tensor_address(buffer.name, buffer.address):
                raise self._engine.failure(f"TensorRT refuses the memory of {buffer.name!r}")

    def _check_shapes(self, batch: int) -> None:
        try:
            missing = self._context.infer_shapes()
        except RuntimeError as error:
            raise self._engine.failure("TensorRT cannot infer the shapes") from error
        if missing:
            raise self._engine.failure(
                f"TensorRT cannot infer the shapes without those of {', '.join(missing)}"
            )
        for target in self._targets:
            expected = (batch, *target.max_shape[1:])
            found = tuple(self._context.get_tensor_shape(target.name))
            if found != expected:
                raise self._engine.failure(
                    f"the engine's {target.name!r} should be {expected}, not {found}"
                )


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
        new_context: Creates another context with the same buffers.
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

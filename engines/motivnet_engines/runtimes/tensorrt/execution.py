"""One execution context with its buffers: an inference on a stream, and what it needs around it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motivnet_engines.runtimes.tensorrt.cuda.base import CudaMemory, PinnedBuffer
from motivnet_engines.runtimes.tensorrt.engine import Engine
from motivnet_engines.runtimes.tensorrt.tensors import Shape, TensorLayout


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffer:
    """A tensor's pinned memory and its memory on the device, both for the largest shape of the profile."""

    layout: TensorLayout
    pinned: PinnedBuffer
    address: int

    def view(self, shape: Shape) -> NDArray[Any]:
        """The pinned bytes as an array of this shape."""
        return self.pinned.array[: self.size(shape)].view(self.layout.dtype).reshape(shape)

    def size(self, shape: Shape) -> int:
        """Bytes of a tensor of this shape."""
        return int(np.prod(shape)) * np.dtype(self.layout.dtype).itemsize


def new_buffer(memory: CudaMemory, layout: TensorLayout, stack: contextlib.ExitStack) -> Buffer:
    """Both memories of a tensor, freed when the stack is closed."""
    pinned = memory.allocate_pinned(layout.max_bytes)
    stack.callback(memory.free_pinned, pinned)
    address = memory.allocate(layout.max_bytes)
    stack.callback(memory.free, address)
    return Buffer(layout=layout, pinned=pinned, address=address)


class Execution:
    """An execution context bound to the buffers of its lane: copies in, kernels and copies out, on
    one stream.

    All methods must be called inside ``CudaMemory.current`` and by one thread at a time.

    Args:
        engine: What makes the context.
        memory: What copies.
        stream: Where everything is enqueued.
        source: The input's buffer.
        targets: The outputs' buffers.
        scratch: Address of ``engine.scratch_bytes`` of device memory, which executions on one
        stream may share.
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
        """Sets the input's shape for the next ``enqueue``; nothing if it is the last one's.

        Raises:
            EngineError: With TensorRT's words, if it refuses the shape or gives the outputs
            unexpected ones.
        """
        if shape == self._shape:
            return
        self._shape = None
        if not self._context.set_input_shape(self._source.layout.name, shape):
            raise self._engine.failure(f"TensorRT refuses the input shape {shape}")
        self._check_shapes(shape[0])
        self._shape = shape

    def enqueue(self) -> None:
        """Copies the prepared shape's input in, computes, and copies the outputs out; nothing is
        awaited.

        Raises:
            EngineError: With CUDA's or TensorRT's words.
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
            size = target.size((self._shape[0], *target.layout.max_shape[1:]))
            self._memory.copy_to_host(target.pinned, target.address, size, self._stream)

    def close(self) -> None:
        """Frees the context; nothing that it enqueued may be under way. A second call does nothing."""
        self._context = None

    def _bind(self, scratch: int) -> None:
        if size := self._engine.scratch_bytes:
            self._context.set_device_memory(scratch, size)
        for buffer in (self._source, *self._targets):
            if not self._context.set_tensor_address(buffer.layout.name, buffer.address):
                raise self._engine.failure(f"TensorRT refuses the memory of {buffer.layout.name!r}")

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
            wanted = (batch, *target.layout.max_shape[1:])
            have = tuple(self._context.get_tensor_shape(target.layout.name))
            if have != wanted:
                raise self._engine.failure(
                    f"the engine's {target.layout.name!r} should be {wanted}, not {have}"
                )

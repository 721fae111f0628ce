"""The execution contexts of a runtime: each is lent to one caller at a time."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact.manifest import Manifest
from motivnet.errors import EngineError, RuntimeUnavailableError
from motivnet_engines.runtimes.signature import input_specs, output_specs, profile_shapes
from motivnet_engines.runtimes.tensorrt.context import (
    CaptureSwitch,
    ExecutionContext,
    ShapeGraphs,
    allocate_buffer,
)
from motivnet_engines.runtimes.tensorrt.cuda.base import CudaMemory
from motivnet_engines.runtimes.tensorrt.engine import Engine
from motivnet_engines.runtimes.tensorrt.tensors import fixed_shape

logger = logging.getLogger(__name__)


class PooledContext:
    """A stream with its buffers, execution context and graphs, which runs one batch after another.

    It is created, used and closed inside ``CudaMemory.current``. Every buffer is allocated here for
    the profile's largest shape, so that no inference allocates: pinned and device memory of input
    and outputs, and device memory of the activations. An input of any size is expensive: 8 images
    of 2160x3840 take 199 MB of each.

    Raises:
        EngineError: If there is no memory for it or no further context; nothing stays allocated.
    """

    def __init__(
        self, engine: Engine, memory: CudaMemory, manifest: Manifest, *, switch: CaptureSwitch
    ) -> None:
        self._engine = engine
        self._memory = memory
        with contextlib.ExitStack() as stack:
            self._stream = memory.create_stream()
            stack.callback(memory.destroy_stream, self._stream)
            profile = engine.entry.profile
            (spec,) = input_specs(manifest)
            *_, largest = profile_shapes(manifest.input, profile)
            self._source = allocate_buffer(memory, spec, largest, stack)
            self._targets = tuple(
                allocate_buffer(memory, spec, fixed_shape(spec, profile.max_batch), stack)
                for spec in output_specs(manifest)
            )
            self._scratch = 0
            if size := engine.scratch_bytes:
                self._scratch = memory.allocate(size)
                stack.callback(memory.free, self._scratch)
            self._plain = self._new_context()
            stack.callback(self._plain.close)
            self._graphs = ShapeGraphs(
                memory, stream=self._stream, new_context=self._new_context, switch=switch
            )
            stack.callback(self._graphs.close)
            # Entered last, so done first: what the GPU still reads or writes must not be freed.
            stack.callback(memory.synchronize, self._stream)
            self._resources = stack.pop_all()

    def run(self, array: NDArray[Any], into: Mapping[str, NDArray[np.float32]]) -> None:
        """Run one batch and write each output ``(batch, ...)`` into the array of its name.

        Raises:
            EngineError: With the message of CUDA or TensorRT; this must be closed then.
        """
        np.copyto(self._source.view(array.shape), array, casting="no")
        launched = self._graphs.launch(array.shape)
        if not launched:
            self._plain.prepare(array.shape)
            self._plain.enqueue()
        self._memory.synchronize(self._stream)
        for target in self._targets:
            out = into[target.name]
            np.copyto(out, target.view(out.shape), casting="no")
        if not launched:
            self._graphs.ran_without(array.shape)

    def close(self) -> None:
        """Wait for the stream and free everything; what CUDA refuses to free is logged."""
        try:
            self._resources.close()
        except EngineError as error:
            logger.warning("CUDA did not free all of an inference's memory: %s", error)

    def _new_context(self) -> ExecutionContext:
        return ExecutionContext(
            self._engine,
            self._memory,
            stream=self._stream,
            source=self._source,
            targets=self._targets,
            scratch=self._scratch,
        )


class ContextPool:
    """At most ``limit`` contexts, created when they are needed and used from any thread.

    Where the GPU has no room for another one, the limit is lowered, and callers wait for those that
    exist.

    Callers are served in the order in which they came: with a plain lock, a thread that runs one
    batch after another would keep the others waiting.

    Args:
        memory: Its CUDA context is current while a context is created, used or closed.
        new_context: Creates one; calls to it do not overlap.
    """

    def __init__(
        self, name: str, memory: CudaMemory, new_context: Callable[[], PooledContext], *, limit: int
    ) -> None:
        self._name = name
        self._memory = memory
        self._new_context = new_context
        self._limit = limit
        self._free = limit
        self._existing = 0
        self._idle: list[PooledContext] = []
        self._queue: deque[object] = deque()
        self._closed = False
        self._changed = threading.Condition()
        self._creating = threading.Lock()

    @contextlib.contextmanager
    def acquire(self) -> Iterator[PooledContext]:
        """Lend a context, with its CUDA context current; if the block fails, it is closed.

        Raises:
            RuntimeUnavailableError: After ``close``.
            EngineError: If a context cannot be created, and there is none to wait for.
        """
        context = self._take()
        try:
            with self._memory.current():
                while context is None:
                    context = self._create_or_wait()
                try:
                    yield context
                except BaseException:
                    broken, context = context, None
                    with self._changed:
                        self._existing -= 1
                    broken.close()
                    raise
        finally:
            with self._changed:
                if context is not None:
                    self._idle.append(context)
                self._free += 1
                self._changed.notify_all()

    def close(self) -> None:
        """Refuse new callers, wait for earlier ones, close every context; may be called again."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._queue and self._free == self._limit)
            contexts, self._idle = self._idle, []
        if contexts:
            with self._memory.current():
                for context in contexts:
                    context.close()

    def _create_or_wait(self) -> PooledContext | None:
        """Return a new context, else one that another caller gives back, else None."""
        with self._creating:
            try:
                context = self._new_context()
            except EngineError as error:
                if not self._existing:
                    raise
                reason = str(error)  # its traceback would keep what is native alive
            else:
                with self._changed:
                    self._existing += 1
                return context
        with self._changed:
            if not self._existing:  # it broke meanwhile, and its memory is free
                return None
            self._limit -= 1
            logger.warning("at most %d calls run at a time: %s", self._limit, reason)
            try:
                return self._wait(first=True)
            except BaseException:
                self._limit += 1  # for the place that the caller still gives back
                raise

    def _take(self) -> PooledContext | None:
        """Wait for a free place; return an idle context, None if one is to be created."""
        with self._changed:
            if self._closed:
                raise RuntimeUnavailableError(
                    f"the {self._name} runtime is closed; open the artifact again"
                )
            return self._wait()

    def _wait(self, *, first: bool = False) -> PooledContext | None:
        ticket = object()
        with self._changed:
            self._queue.insert(0 if first else len(self._queue), ticket)
            try:
                self._changed.wait_for(lambda: self._free > 0 and self._queue[0] is ticket)
                self._free -= 1
                return self._idle.pop() if self._idle else None
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()

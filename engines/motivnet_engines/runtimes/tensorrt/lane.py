"""What one caller at a time runs on: a stream, buffers for the largest shape, an execution context and its graphs."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact.manifest import Manifest
from motivnet.errors import EngineError
from motivnet_engines.runtimes.tensorrt.cuda.base import CudaMemory
from motivnet_engines.runtimes.tensorrt.cuda_graphs import CaptureSwitch, ShapeGraphs
from motivnet_engines.runtimes.tensorrt.engine import Engine
from motivnet_engines.runtimes.tensorrt.execution import Execution, new_buffer
from motivnet_engines.runtimes.tensorrt.tensors import input_layout, output_layouts

logger = logging.getLogger(__name__)


class Lane:
    """Runs batches of at most the profile's, one after another; made, used and closed inside
    ``CudaMemory.current``.

    Every buffer is made here, for the profile's largest shape, so that no inference allocates: the
    pinned memory and the device memory of input and outputs, and the device memory of the
    activations. An input of any size is the costly one: 8 images of 2160x3840 are 199 MB of each.

    Raises:
        EngineError: If memory or another context is not to be had; nothing is left allocated then.
    """

    def __init__(
        self, engine: Engine, memory: CudaMemory, manifest: Manifest, *, switch: CaptureSwitch
    ) -> None:
        self._memory = memory
        with contextlib.ExitStack() as stack:
            self._stream = memory.create_stream()
            stack.callback(memory.destroy_stream, self._stream)
            profile = engine.entry.profile
            self._source = new_buffer(memory, input_layout(manifest, profile), stack)
            self._targets = tuple(
                new_buffer(memory, layout, stack) for layout in output_layouts(manifest, profile)
            )
            self._scratch = 0
            if size := engine.scratch_bytes:
                self._scratch = memory.allocate(size)
                stack.callback(memory.free, self._scratch)
            self._engine = engine
            self._plain = self._new_execution()
            stack.callback(self._plain.close)
            self._graphs = ShapeGraphs(
                memory, stream=self._stream, new_execution=self._new_execution, switch=switch
            )
            stack.callback(self._graphs.close)
            # Entered last, so done first: what the GPU still reads or writes must not be freed.
            stack.callback(memory.synchronize, self._stream)
            self._resources = stack.pop_all()

    def run(self, array: NDArray[Any], into: Mapping[str, NDArray[np.float32]]) -> None:
        """Runs one batch and writes every output ``(batch, …)`` into the array of its name.

        Raises:
            EngineError: With CUDA's or TensorRT's words; the lane must be closed then.
        """
        np.copyto(self._source.view(array.shape), array, casting="no")
        launched = self._graphs.launch(array.shape)
        if not launched:
            self._plain.prepare(array.shape)
            self._plain.enqueue()
        self._memory.synchronize(self._stream)
        for target in self._targets:
            out = into[target.layout.name]
            np.copyto(out, target.view(out.shape), casting="no")
        if not launched:
            self._graphs.ran_without(array.shape)

    def close(self) -> None:
        """Waits for what is under way and frees everything; what CUDA refuses to free is logged, the rest is freed."""
        try:
            self._resources.close()
        except EngineError as error:
            logger.warning("CUDA did not free all of an inference's memory: %s", error)

    def _new_execution(self) -> Execution:
        return Execution(
            self._engine,
            self._memory,
            stream=self._stream,
            source=self._source,
            targets=self._targets,
            scratch=self._scratch,
        )

"""TensorRT and TensorRT-RTX as a ``Runtime``."""

from __future__ import annotations

import contextlib
import threading
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact import Artifact
from motivnet.artifact.manifest import COMPUTE_DTYPES, EngineBackend
from motivnet.errors import ConfigError
from motivnet.runtime import Arrays, check_inputs
from motivnet_engines.runtimes.signature import input_specs, output_specs
from motivnet_engines.runtimes.tensorrt.api import load_api
from motivnet_engines.runtimes.tensorrt.compatibility import check_engine, engine_entry
from motivnet_engines.runtimes.tensorrt.cuda import open_memory
from motivnet_engines.runtimes.tensorrt.cuda.base import CudaMemory, MemoryName
from motivnet_engines.runtimes.tensorrt.cuda_graphs import CaptureSwitch
from motivnet_engines.runtimes.tensorrt.engine import Engine
from motivnet_engines.runtimes.tensorrt.kernel_cache import RuntimeCache
from motivnet_engines.runtimes.tensorrt.lane import Lane
from motivnet_engines.runtimes.tensorrt.pool import LanePool
from motivnet_engines.runtimes.tensorrt.self_test import self_test
from motivnet_engines.runtimes.tensorrt.tensors import check_size, check_tensors, fixed_shape


class TensorRTRuntime:
    """An artifact's engine, open on one GPU.

    ``run`` may be called from any thread. At most ``contexts`` calls run at a time, the others wait
    in their order; an execution context, its stream and its buffers (see ``Lane`` for the bytes)
    are made when a call first needs them. Batches above the profile's are split.

    Before the engine is loaded, its hash, platform, version and GPU are compared with the manifest;
    then its inputs, outputs and profile; and the artifact's reference images must come out near
    PyTorch's numbers.

    Args:
        artifact: Whose engine to open.
        backend: ``tensorrt`` or ``tensorrt-rtx``.
        memory: The package for CUDA's driver API; the first that is installed if None.
        contexts: The most calls at a time.
        device: The GPU's number.
        cuda_graphs: Whether input shapes that come again are run as CUDA graphs.

    Raises:
        ArtifactError: If the files are not what the manifest says, or the engine not what it
        promises.
        ConfigError: If ``contexts`` is below 1 or ``device`` negative.
        EngineError: If TensorRT does not take the engine, or its numbers are wrong.
        MissingDependencyError: If a package is not installed.
        RuntimeUnavailableError: If the engine is not for this machine.
    """

    def __init__(
        self,
        artifact: Artifact,
        *,
        backend: EngineBackend,
        memory: MemoryName | None = None,
        contexts: int = 2,
        device: int = 0,
        cuda_graphs: bool = True,
    ) -> None:
        _check_counts(contexts, device)
        check_engine(artifact.manifest, backend, device=device)
        self._entry = engine_entry(artifact.manifest, backend)
        self._manifest = artifact.manifest
        self.name: str = backend
        self.compute = COMPUTE_DTYPES[self._entry.precision]
        self.inputs = input_specs(artifact.manifest)
        self.outputs = output_specs(artifact.manifest)
        self._closing = threading.Lock()
        with contextlib.ExitStack() as stack:
            cuda = open_memory(memory, device=device)
            stack.callback(cuda.close)
            inside = contextlib.ExitStack()
            stack.callback(_close_inside, cuda, inside)
            with cuda.current():
                engine, cache = self._open_engine(artifact, cuda, inside, cuda_graphs=cuda_graphs)
            captures = cuda_graphs and cuda.captures_graphs and not engine.has_builtin_graphs
            switch = CaptureSwitch(enabled=captures)
            manifest = (
                artifact.manifest
            )  # the pool must not hold this runtime, which holds the pool
            self._pool = LanePool(
                backend, cuda, lambda: Lane(engine, cuda, manifest, switch=switch), limit=contexts
            )
            inside.callback(self._pool.close)
            self_test(self.run, artifact, self._entry, compute=self.compute)
            inside.callback(lambda: cache.write(engine.compiled_kernels()))
            self._resources = stack.pop_all()

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Every output by name.

        Raises:
            EngineError: With CUDA's or TensorRT's words, if they fail; the runtime stays usable if
            they are.
            InputError: If the arrays do not fit ``inputs`` or, at any size, the engine's profile.
            RuntimeUnavailableError: After ``close``.
        """
        check_inputs(inputs, self.inputs)
        array = inputs[self.inputs[0].name]
        profile = self._entry.profile
        check_size(array.shape, self._manifest, profile)
        outputs = {
            spec.name: np.empty(fixed_shape(spec, len(array)), np.float32) for spec in self.outputs
        }
        with self._pool.lane() as lane:
            for start in range(0, len(array), profile.max_batch):
                part = slice(start, start + profile.max_batch)
                lane.run(array[part], into={name: output[part] for name, output in outputs.items()})
        return outputs

    def close(self) -> None:
        """Frees everything once the calls under way have ended; a second call does nothing."""
        with self._closing:
            # Not from the stack of resources: were this wait interrupted, that would go on and free
            # what still runs.
            self._pool.close()
            self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open_engine(
        self,
        artifact: Artifact,
        cuda: CudaMemory,
        stack: contextlib.ExitStack,
        *,
        cuda_graphs: bool,
    ) -> tuple[Engine, RuntimeCache]:
        engine = Engine(load_api(self._entry.backend), self._entry, builtin_graphs=cuda_graphs)
        stack.callback(engine.close)
        engine.load(artifact.file_bytes(self._entry.path))
        check_tensors(engine, self._manifest)
        cache = RuntimeCache(
            artifact, self._entry, sm=cuda.device().compute_capability.replace(".", "")
        )
        engine.configure(cache.read())
        return engine, cache


def _close_inside(cuda: CudaMemory, stack: contextlib.ExitStack) -> None:
    """Closes a stack while the CUDA context is current."""
    with cuda.current():
        stack.close()


def _check_counts(contexts: int, device: int) -> None:
    if contexts < 1:
        raise ConfigError(f"contexts must be at least 1, not {contexts}")
    if device < 0:
        raise ConfigError(f"device must be a GPU's number from 0, not {device}")

"""TensorRT and TensorRT-RTX as a ``Runtime``."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact import Artifact
from motivnet.artifact.engine_entry import EngineBackend, EngineEntry
from motivnet.artifact.manifest import InputEntry
from motivnet.artifact.reference import read_reference
from motivnet.errors import ConfigError, EngineError
from motivnet.parity import COMPUTE_DTYPES, Outputs, compare
from motivnet.runtime import Arrays, check_inputs
from motivnet_engines.runtimes.signature import (
    input_from_pixels,
    input_shape,
    input_specs,
    output_specs,
)
from motivnet_engines.runtimes.tensorrt.api import load_api
from motivnet_engines.runtimes.tensorrt.compatibility import check_engine, engine_entry
from motivnet_engines.runtimes.tensorrt.context import CaptureSwitch
from motivnet_engines.runtimes.tensorrt.context_pool import ContextPool, PooledContext
from motivnet_engines.runtimes.tensorrt.cuda import open_memory
from motivnet_engines.runtimes.tensorrt.cuda.base import CudaMemory, MemoryName
from motivnet_engines.runtimes.tensorrt.engine import Engine
from motivnet_engines.runtimes.tensorrt.kernel_cache import KernelCache
from motivnet_engines.runtimes.tensorrt.tensors import check_size, check_tensors, fixed_shape

_Run = Callable[[Arrays], dict[str, NDArray[np.float32]]]

_REMEDY = "build it again with another precision or --attention decomposed"


class TensorRTRuntime:
    """An artifact's engine, open on one GPU.

    ``run`` may be called from any thread. At most ``contexts`` calls run at a time, the others wait
    in order of arrival. An execution context with its stream and buffers (see ``PooledContext`` for
    the bytes) is created when a call first needs it. Batches above the profile's are split.

    Before the engine is loaded, its hash, platform, version and GPU are compared with the manifest;
    then its inputs, outputs and profile. Finally it must reproduce the artifact's reference outputs
    within the tolerances.

    Args:
        artifact: Whose engine to open.
        backend: ``tensorrt`` or ``tensorrt-rtx``.
        memory: The package for CUDA's driver API; the first that is installed if None.
        contexts: The most calls at a time.
        device: The GPU's number.
        cuda_graphs: Whether recurring input shapes are run as CUDA graphs; never those of an engine
            that streams its weights.

    Raises:
        ArtifactError: If the files or the engine are not what the manifest promises.
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
        if contexts < 1:
            raise ConfigError(f"contexts must be at least 1, not {contexts}")
        if device < 0:
            raise ConfigError(f"device must be a GPU's number from 0, not {device}")
        manifest = self._manifest = artifact.manifest
        check_engine(manifest, backend, device=device)
        self._entry = engine_entry(manifest, backend)
        # Streamed weights make an inference synchronous, which no graph can be captured of.
        cuda_graphs = cuda_graphs and not self._entry.weight_streaming
        self.name: str = backend
        self.compute = COMPUTE_DTYPES[self._entry.precision]
        self.inputs = input_specs(manifest)
        self.outputs = output_specs(manifest)
        self._closing = threading.Lock()
        with contextlib.ExitStack() as stack:
            cuda = open_memory(memory, device=device)
            stack.callback(cuda.close)
            inside = contextlib.ExitStack()
            stack.callback(_close_inside, cuda, inside)
            with cuda.current():
                engine, cache = self._open_engine(artifact, cuda, inside, cuda_graphs=cuda_graphs)
            switch = CaptureSwitch(
                enabled=cuda_graphs and cuda.captures_graphs and not engine.has_builtin_graphs
            )
            # The pool must not hold this runtime, which holds the pool.
            self._pool = ContextPool(
                backend,
                cuda,
                lambda: PooledContext(engine, cuda, manifest, switch=switch),
                limit=contexts,
            )
            inside.callback(self._pool.close)
            _self_test(self.run, artifact, self._entry, compute=self.compute)
            inside.callback(lambda: cache.write(engine.compiled_kernels()))
            self._resources = stack.pop_all()

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Return every output by name.

        Raises:
            EngineError: With the message of CUDA or TensorRT; the runtime stays usable if they are.
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
        with self._pool.acquire() as context:
            for start in range(0, len(array), profile.max_batch):
                part = slice(start, start + profile.max_batch)
                into = {name: output[part] for name, output in outputs.items()}
                context.run(array[part], into=into)
        return outputs

    def close(self) -> None:
        """Free everything once the running calls have ended; may be called again."""
        with self._closing:
            # Not from the stack of resources: if this wait were interrupted, the stack would
            # continue and free what is still running.
            self._pool.close()
            self._resources.close()

    def __enter__(self) -> TensorRTRuntime:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open_engine(
        self,
        artifact: Artifact,
        cuda: CudaMemory,
        stack: contextlib.ExitStack,
        *,
        cuda_graphs: bool,
    ) -> tuple[Engine, KernelCache]:
        engine = Engine(load_api(self._entry.backend), self._entry, builtin_graphs=cuda_graphs)
        stack.callback(engine.close)
        engine.load(artifact.file_bytes(self._entry.path))
        check_tensors(engine, self._manifest)
        sha256 = self._manifest.entry(self._entry.path).sha256
        cache = KernelCache(sha256, sm=cuda.device().compute_capability.replace(".", ""))
        engine.configure(cache.read())
        return engine, cache


def _close_inside(cuda: CudaMemory, stack: contextlib.ExitStack) -> None:
    """Close a stack while the CUDA context is current."""
    with cuda.current():
        stack.close()


def _self_test(run: _Run, artifact: Artifact, entry: EngineEntry, *, compute: str) -> None:
    """Check that an engine reproduces the reference, or without one gives finite outputs."""
    if artifact.manifest.reference is None:
        _check_finite(run, artifact.manifest.input, entry)
    else:
        _check_reference(run, artifact, entry, compute)


def _check_reference(run: _Run, artifact: Artifact, entry: EngineEntry, compute: str) -> None:
    reference = read_reference(artifact)
    image = artifact.manifest.input
    inputs = {image.name: input_from_pixels(image, reference.pixels, profile=entry.profile)}
    started = time.perf_counter()
    outputs = run(inputs)
    seconds = (time.perf_counter() - started) / len(reference.pixels)
    found = Outputs(
        logits=outputs["logits"],
        # An artifact without an embedding is compared by its logits alone.
        embedding=outputs.get("embedding", reference.embedding),
        seconds_per_image=seconds,
    )
    comparison = compare(
        entry.backend,
        found,
        Outputs(logits=reference.logits, embedding=reference.embedding, seconds_per_image=0),
        compute=compute,
        evidence="runtime",
        precision=entry.precision,
    )
    if not comparison.passed:
        raise EngineError(
            f"the {entry.backend} engine is too far from PyTorch on the artifact's reference "
            f"images: {'; '.join(comparison.failures)}; {_REMEDY}",
            problems=comparison.failures,
        )


def _check_finite(run: _Run, entry: InputEntry, engine: EngineEntry) -> None:
    black = np.zeros(input_shape(entry, 1, entry.preprocessing.size), entry.dtype)
    for name, output in run({entry.name: black}).items():
        if not np.isfinite(output).all():
            raise EngineError(
                f"the {engine.backend} engine gives {name} that are not finite numbers, "
                f"for an image of zeros; {_REMEDY}"
            )

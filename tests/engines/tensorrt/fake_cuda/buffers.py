"""What the tests of CudaMemory move: a stream with buffers, and bytes to the device and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

BYTES = 4096


@contextmanager
def buffers(memory: Any, size: int = BYTES) -> Iterator[SimpleNamespace]:
    """A stream, device memory and two pinned buffers, freed in the order a runner frees them."""
    with ExitStack() as stack:
        stream = memory.create_stream()
        stack.callback(memory.destroy_stream, stream)
        device = memory.allocate(size)
        stack.callback(memory.free, device)
        source = memory.allocate_pinned(size)
        stack.callback(memory.free_pinned, source)
        target = memory.allocate_pinned(size)
        stack.callback(memory.free_pinned, target)
        stack.callback(memory.synchronize, stream)
        yield SimpleNamespace(stream=stream, device=device, source=source, target=target)


def random_bytes(size: int = BYTES, *, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def round_trip(memory: Any, content: NDArray[np.uint8]) -> NDArray[np.uint8]:
    with memory.current(), buffers(memory, content.size) as its:
        its.source[:] = content
        memory.copy_to_device(its.device, its.source, content.size, its.stream)
        memory.copy_to_host(its.target, its.device, content.size, its.stream)
        memory.synchronize(its.stream)
        return np.array(its.target)

"""The protocol of CUDA memory, which its two implementations share, and its errors."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from motivnet.artifact.engine_entry import EngineDevice
from motivnet.errors import EngineError, RuntimeUnavailableError

MemoryName = Literal["cuda-bindings", "pycuda"]


Bytes = NDArray[np.uint8]
"""Pinned host memory, which the GPU copies directly; not to be used after ``free_pinned``."""


class CudaMemory(Protocol):
    """Buffers, copies and streams of one device, in its primary context.

    PyTorch and ONNX Runtime use the primary context too, so it is retained and never created.
    ``current`` pushes and pops it, and every other method must be called inside, in any thread.
    Addresses and handles are plain integers. Copies are asynchronous: until ``synchronize``,
    neither side may be read, written or freed.

    Every method raises ``EngineError`` with CUDA's message, and ``allocate`` names the bytes that
    were not available. A copy larger than its pinned buffer is a ``ValueError``, because only a bug
    of the caller asks for one.
    """

    @property
    def name(self) -> MemoryName:
        """The name of the implementation."""

    @property
    def captures_graphs(self) -> bool:
        """Whether ``begin_capture`` and the methods after it can be used."""

    def current(self) -> AbstractContextManager[None]:
        """Push the primary context, and pop it at the end of the block."""

    def device(self) -> EngineDevice:
        """Return what the driver says about the device, with CUDA's version as the driver's."""

    def allocate(self, size: int) -> int:
        """Return the address of so many bytes of device memory, of unknown content."""

    def free(self, address: int) -> None:
        """Free device memory that nothing enqueued needs any more."""

    def allocate_pinned(self, size: int) -> Bytes:
        """Return so many bytes of pinned host memory, of unknown content."""

    def free_pinned(self, buffer: Bytes) -> None:
        """Free pinned memory that nothing enqueued needs any more."""

    def create_stream(self) -> int:
        """Return a stream that does not wait for the default stream, which other libraries use."""

    def destroy_stream(self, stream: int) -> None:
        """Destroy a stream whose work is done."""

    def copy_to_device(self, address: int, source: Bytes, size: int, stream: int) -> None:
        """Enqueue a copy of the first ``size`` bytes of ``source``."""

    def copy_to_host(self, target: Bytes, address: int, size: int, stream: int) -> None:
        """Enqueue a copy into the first ``size`` bytes of ``target``."""

    def synchronize(self, stream: int) -> None:
        """Wait until everything enqueued on the stream is done."""

    def begin_capture(self, stream: int) -> None:
        """Record what this thread enqueues from now on, instead of running it."""

    def end_capture(self, stream: int) -> Any:
        """Return the executable graph of what was recorded; after an error no capture is active."""

    def launch(self, graph: Any, stream: int) -> None:
        """Enqueue all that a graph recorded."""

    def destroy_graph(self, graph: Any) -> None:
        """Destroy an executable graph."""

    def close(self) -> None:
        """Release the primary context; may be called again.

        To be called outside of ``current``, by any thread, when every buffer, stream and graph has
        been freed.
        """


def device_info(
    *, name: str, capability: tuple[int, int], memory: int, cuda_version: int
) -> EngineDevice:
    """Return the device's details; CUDA gives its version 13.1 as 13010."""
    return EngineDevice(
        name=name,
        compute_capability=f"{capability[0]}.{capability[1]}",
        memory=memory,
        driver=f"{cuda_version // 1000}.{cuda_version % 1000 // 10}",
    )


def closed() -> EngineError:
    """Return what ``current`` raises after ``close``."""
    return EngineError("the CUDA memory is closed; open the runtime again")


def out_of_memory(size: int, *, free: int, total: int) -> EngineError:
    """Return what ``allocate`` raises when the GPU has not that many bytes."""
    return EngineError(
        f"the GPU has no {size} bytes left ({free} of {total} are free); stop other programs that "
        "use it, or build the engine with a smaller --max-batch"
    )


def out_of_host_memory(size: int) -> EngineError:
    """Return what ``allocate_pinned`` raises when the host has not that many bytes to pin."""
    return EngineError(
        f"the host has no {size} bytes left to pin; free some memory, or build the engine with "
        "a smaller --max-batch"
    )


def no_driver(reason: object) -> RuntimeUnavailableError:
    """Return what opening raises when the driver's library, or every GPU, is missing."""
    return RuntimeUnavailableError(
        f"CUDA cannot be used on this machine: {str(reason).strip().rstrip('.')}; install NVIDIA's "
        "driver and see what nvidia-smi says, or choose a runtime that needs no GPU"
    )


def no_device(device: int, *, devices: int) -> RuntimeUnavailableError:
    """Return what opening raises when the machine has GPUs, but not this one."""
    if devices == 0:
        return no_driver("the driver sees no GPU")
    return RuntimeUnavailableError(f"there is no CUDA device {device}; choose 0 to {devices - 1}")


def check_copy(buffer: Bytes, size: int) -> None:
    """Check that a copy of so many bytes stays inside the pinned buffer.

    Raises:
        ValueError: If it would read or write memory outside.
    """
    if not 0 <= size <= buffer.nbytes:
        raise ValueError(f"a copy of {size} bytes does not fit a pinned buffer of {buffer.nbytes}")

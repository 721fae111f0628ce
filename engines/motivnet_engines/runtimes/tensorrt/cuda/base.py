"""The CUDA driver API as the runner needs it, and which of its two implementations is used."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from motivnet.errors import EngineError, RuntimeUnavailableError

MemoryName = Literal["cuda-bindings", "pycuda"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """The GPU: its name, compute capability such as ``8.6``, memory in bytes, and the driver's CUDA version."""

    name: str
    compute_capability: str
    memory: int
    driver: str


class PinnedBuffer(Protocol):
    """Host memory that the GPU copies from and to without staging."""

    @property
    def array(self) -> NDArray[np.uint8]:
        """Its bytes; invalid after ``free_pinned``."""


class CudaMemory(Protocol):
    """Buffers, copies and streams of one device, in its primary context.

    Torch and ONNX Runtime use the primary context too, so it is retained and never created;
    ``current`` pushes it and pops it again, and every other method must be called inside, in
    whatever thread. Addresses and handles are plain integers. Copies are asynchronous: until
    ``synchronize``, neither side may be read, written or freed.

    Every method raises ``EngineError`` with CUDA's own words, and ``allocate`` names the bytes that
    were not there. A copy larger than its pinned buffer is a ``ValueError``: no one but the caller
    can be wrong about it.
    """

    @property
    def name(self) -> MemoryName:
        """The name to ask for it by."""

    @property
    def captures_graphs(self) -> bool:
        """Whether ``begin_capture`` and what follows it can be used."""

    def current(self) -> AbstractContextManager[None]:
        """Makes the primary context this thread's own for the length of the block."""

    def device(self) -> DeviceInfo:
        """What the driver says about the device."""

    def allocate(self, size: int) -> int:
        """The address of so many bytes of device memory, of unknown content."""

    def free(self, address: int) -> None:
        """Frees device memory that nothing enqueued needs any more."""

    def allocate_pinned(self, size: int) -> PinnedBuffer:
        """So many bytes of pinned host memory, of unknown content."""

    def free_pinned(self, buffer: PinnedBuffer) -> None:
        """Frees pinned memory that nothing enqueued needs any more."""

    def create_stream(self) -> int:
        """A stream that does not wait for the default stream, where other libraries work."""

    def destroy_stream(self, stream: int) -> None:
        """Destroys a stream whose work is done."""

    def copy_to_device(self, address: int, source: PinnedBuffer, size: int, stream: int) -> None:
        """Enqueues a copy of the first ``size`` bytes of ``source``."""

    def copy_to_host(self, target: PinnedBuffer, address: int, size: int, stream: int) -> None:
        """Enqueues a copy into the first ``size`` bytes of ``target``."""

    def synchronize(self, stream: int) -> None:
        """Waits until everything enqueued on the stream is done."""

    def begin_capture(self, stream: int) -> None:
        """Records what this thread enqueues from now on, instead of running it."""

    def end_capture(self, stream: int) -> Any:
        """The executable graph of what was enqueued since ``begin_capture``; no capture is under way after an error."""

    def launch(self, graph: Any, stream: int) -> None:
        """Enqueues all that a graph recorded."""

    def destroy_graph(self, graph: Any) -> None:
        """Destroys an executable graph."""

    def close(self) -> None:
        """Releases the primary context; a second call does nothing.

        To be called outside of ``current``, by any thread, when every buffer, stream and graph is
        gone.
        """


def out_of_memory(size: int, *, free: int, total: int) -> EngineError:
    """What ``allocate`` raises when the GPU has not that many bytes."""
    return EngineError(
        f"the GPU has no {size} bytes left ({free} of {total} are free); end what else uses it, "
        "or build the engine with a smaller --max-batch"
    )


def out_of_host_memory(size: int) -> EngineError:
    """What ``allocate_pinned`` raises when the host has not that many bytes to pin."""
    return EngineError(
        f"the host has no {size} bytes left to pin; free some memory, or build the engine with a smaller --max-batch"
    )


def no_driver(reason: object) -> RuntimeUnavailableError:
    """What opening raises when the driver's library, or every GPU, is missing."""
    return RuntimeUnavailableError(
        f"CUDA cannot be used on this machine: {_one_line(reason)}; install NVIDIA's driver and see what nvidia-smi "
        "says, or choose a runtime that needs no GPU"
    )


def no_device(device: int, *, devices: int) -> RuntimeUnavailableError:
    """What opening raises when the machine has GPUs, and not this one."""
    if devices == 0:
        return no_driver("the driver sees no GPU")
    return RuntimeUnavailableError(f"there is no CUDA device {device}; choose 0 to {devices - 1}")


def check_copy(buffer: PinnedBuffer, size: int) -> None:
    """Returns when a copy of so many bytes stays inside the pinned buffer.

    Raises:
        ValueError: If it does not, which would read or write another's memory.
    """
    if not 0 <= size <= buffer.array.nbytes:
        raise ValueError(
            f"a copy of {size} bytes does not fit a pinned buffer of {buffer.array.nbytes}"
        )


def _one_line(reason: object) -> str:
    return " ".join(str(reason).split()).rstrip(".")

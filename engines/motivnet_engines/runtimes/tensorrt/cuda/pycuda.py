"""CUDA memory through pycuda, for machines that have it: its compiled part needs no newer Python than theirs."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motivnet.errors import EngineError, MissingDependencyError
from motivnet_engines.runtimes.tensorrt.cuda.base import (
    DeviceInfo,
    MemoryName,
    PinnedBuffer,
    check_copy,
    no_device,
    no_driver,
    out_of_host_memory,
    out_of_memory,
)

try:
    import pycuda.driver as cuda
except ModuleNotFoundError as error:
    raise MissingDependencyError("pycuda", extra="pycuda") from error
except ImportError as error:  # its compiled part is linked to the driver's library
    raise no_driver(error) from error

_NON_BLOCKING_STREAM = 1
"""``CU_STREAM_NON_BLOCKING``, which pycuda passes on and has no name for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMemory:
    """Pinned bytes."""

    array: NDArray[np.uint8]


class PyCudaMemory:
    """``CudaMemory`` of one device; opening it retains the primary context.

    Neither ``pycuda.autoinit`` nor ``make_context``: a context of its own would clash with that of
    torch and ONNX Runtime (https://github.com/inducer/pycuda/issues/285). pycuda has no CUDA
    graphs. Its objects are kept here and freed by name, inside the context: it leaks those that die
    outside of it, with no more than a warning.

    Raises:
        RuntimeUnavailableError: If there is no driver, or no such device.
    """

    name: MemoryName = "pycuda"
    captures_graphs = False

    def __init__(self, device: int) -> None:
        self._closing = threading.Lock()
        self._closed = False
        self._allocations: dict[int, Any] = {}
        self._pinned: dict[int, Any] = {}
        self._streams: dict[int, Any] = {}
        self._device = _opened_device(device)
        with _engine_errors():
            self._context = self._device.retain_primary_context()

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """Pushes the primary context, and pops it at the end of the block."""
        if self._closed:
            raise EngineError("the CUDA memory is closed; open the runtime again")
        with _engine_errors():
            self._context.push()
        try:
            yield
        finally:
            with _engine_errors():
                cuda.Context.pop()

    def device(self) -> DeviceInfo:
        """What the driver says about the device."""
        with _engine_errors():
            major, minor = self._device.compute_capability()
            version = cuda.get_driver_version()
            return DeviceInfo(
                name=self._device.name(),
                compute_capability=f"{major}.{minor}",
                memory=self._device.total_memory(),
                driver=f"{version // 1000}.{version % 1000 // 10}",
            )

    def allocate(self, size: int) -> int:
        """Device memory of so many bytes."""
        with _engine_errors():
            try:
                allocation = cuda.mem_alloc(size)
            except cuda.MemoryError as error:
                free, total = cuda.mem_get_info()
                raise out_of_memory(size, free=free, total=total) from error
        self._allocations[int(allocation)] = allocation
        return int(allocation)

    def free(self, address: int) -> None:
        """Frees device memory."""
        with _engine_errors():
            _taken(self._allocations, address, "device memory").free()

    def allocate_pinned(self, size: int) -> PinnedBuffer:
        """Pinned host memory of so many bytes."""
        with _engine_errors():
            try:
                array = cuda.pagelocked_empty(size, np.uint8)
            except cuda.MemoryError as error:
                raise out_of_host_memory(size) from error
        self._pinned[array.ctypes.data] = array.base
        return HostMemory(array=array)

    def free_pinned(self, buffer: PinnedBuffer) -> None:
        """Frees pinned memory; its array must not be touched again."""
        with _engine_errors():
            _taken(self._pinned, buffer.array.ctypes.data, "pinned memory").free()

    def create_stream(self) -> int:
        """A stream that does not wait for the default stream, where other libraries work."""
        with _engine_errors():
            stream = cuda.Stream(_NON_BLOCKING_STREAM)
        self._streams[stream.handle] = stream
        return int(stream.handle)

    def destroy_stream(self, stream: int) -> None:
        """Destroys a stream, which pycuda does when nothing holds it."""
        _taken(self._streams, stream, "stream")

    def copy_to_device(self, address: int, source: PinnedBuffer, size: int, stream: int) -> None:
        """Enqueues a copy of the first ``size`` bytes of ``source``."""
        check_copy(source, size)
        with _engine_errors():
            cuda.memcpy_htod_async(address, source.array[:size], self._stream(stream))

    def copy_to_host(self, target: PinnedBuffer, address: int, size: int, stream: int) -> None:
        """Enqueues a copy into the first ``size`` bytes of ``target``."""
        check_copy(target, size)
        with _engine_errors():
            cuda.memcpy_dtoh_async(target.array[:size], address, self._stream(stream))

    def synchronize(self, stream: int) -> None:
        """Waits until everything enqueued is done."""
        with _engine_errors():
            self._stream(stream).synchronize()

    def begin_capture(self, stream: int) -> None:  # noqa: ARG002 - the protocol's
        """Not to be had."""
        raise _no_graphs()

    def end_capture(self, stream: int) -> Any:  # noqa: ARG002 - the protocol's
        """Not to be had."""
        raise _no_graphs()

    def launch(self, graph: Any, stream: int) -> None:  # noqa: ARG002 - the protocol's
        """Not to be had."""
        raise _no_graphs()

    def destroy_graph(self, graph: Any) -> None:  # noqa: ARG002 - the protocol's
        """Not to be had."""
        raise _no_graphs()

    def close(self) -> None:
        """Releases the primary context.

        pycuda's ``detach`` releases it only where it is current, or in the thread that opened it,
        and leaves it on that thread's stack; so it is pushed for pycuda and popped for the driver
        before.
        """
        with self._closing:
            if self._closed:
                return
            self._closed = True
        with _engine_errors():
            self._context.push()
            _pop_from_driver()
            self._context.detach()

    def _stream(self, stream: int) -> Any:
        if stream not in self._streams:
            raise EngineError(
                f"CUDA has no stream {stream} here; it was destroyed, or is another's"
            )
        return self._streams[stream]


def _opened_device(device: int) -> Any:
    try:
        cuda.init()
        devices = cuda.Device.count()
    except cuda.Error as error:
        raise no_driver(error) from error
    if not 0 <= device < devices:
        raise no_device(device, devices=devices)
    with _engine_errors():
        return cuda.Device(device)


def _pop_from_driver() -> None:
    """``cuCtxPopCurrent`` alone, which pycuda offers only together with its own stack."""
    library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    if status := library.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p())):
        raise EngineError(f"cuCtxPopCurrent failed with CUDA's error {status}")


def _taken(kept: dict[int, Any], key: int, what: str) -> Any:
    if key not in kept:
        raise EngineError(
            f"there is no {what} {key:#x} to free; it was freed before, or is another's"
        )
    return kept.pop(key)


def _no_graphs() -> EngineError:
    return EngineError("pycuda has no CUDA graphs; install cuda-bindings for them")


@contextlib.contextmanager
def _engine_errors() -> Iterator[None]:
    """What pycuda raises, as ours, in CUDA's words."""
    try:
        yield
    except cuda.Error as error:
        raise EngineError(" ".join(str(error).split())) from error

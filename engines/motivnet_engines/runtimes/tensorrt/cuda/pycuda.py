"""CUDA memory through pycuda, for machines whose Python is too old for cuda.bindings."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from motivnet.artifact.engine_entry import EngineDevice
from motivnet.errors import EngineError, MissingDependencyError
from motivnet_engines.runtimes.tensorrt.cuda import base

try:
    import pycuda.driver as cuda
except ModuleNotFoundError as error:
    raise MissingDependencyError("pycuda", extra="pycuda") from error
except ImportError as error:  # its compiled part is linked to the driver's library
    raise base.no_driver(error) from error

_NON_BLOCKING_STREAM = 1
"""``CU_STREAM_NON_BLOCKING``, which pycuda accepts but does not name."""


class PyCudaMemory:
    """``CudaMemory`` of one device; opening it retains the primary context.

    Neither ``pycuda.autoinit`` nor ``make_context`` is used: a new context would clash with that of
    PyTorch and ONNX Runtime (https://github.com/inducer/pycuda/issues/285). pycuda has no CUDA
    graphs. Its objects are kept here and freed explicitly, inside the context: it leaks those that
    are freed outside of it, with only a warning.

    Raises:
        RuntimeUnavailableError: If there is no driver, or no such device.
    """

    name: base.MemoryName = "pycuda"
    captures_graphs = False

    def __init__(self, device: int) -> None:
        self._closing = threading.Lock()
        self._closed = False
        self._allocations: dict[int, Any] = {}
        self._pinned: dict[int, Any] = {}
        self._streams: dict[int, Any] = {}
        self._device = _open_device(device)
        with _engine_errors():
            self._context = self._device.retain_primary_context()

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """Push the primary context, and pop it at the end of the block."""
        if self._closed:
            raise base.closed()
        with _engine_errors():
            self._context.push()
        try:
            yield
        finally:
            with _engine_errors():
                cuda.Context.pop()

    def device(self) -> EngineDevice:
        """Return what the driver says about the device."""
        with _engine_errors():
            return base.device_info(
                name=self._device.name(),
                capability=self._device.compute_capability(),
                memory=self._device.total_memory(),
                cuda_version=cuda.get_driver_version(),
            )

    def allocate(self, size: int) -> int:
        """Return the address of so many bytes of device memory."""
        with _engine_errors():
            try:
                allocation = cuda.mem_alloc(size)
            except cuda.MemoryError as error:
                free, total = cuda.mem_get_info()
                raise base.out_of_memory(size, free=free, total=total) from error
        self._allocations[int(allocation)] = allocation
        return int(allocation)

    def free(self, address: int) -> None:
        """Free device memory."""
        with _engine_errors():
            _take(self._allocations, address, "device memory").free()

    def allocate_pinned(self, size: int) -> base.Bytes:
        """Return so many bytes of pinned host memory."""
        with _engine_errors():
            try:
                array: base.Bytes = cuda.pagelocked_empty(size, np.uint8)
            except cuda.MemoryError as error:
                raise base.out_of_host_memory(size) from error
        self._pinned[array.ctypes.data] = array.base
        return array

    def free_pinned(self, buffer: base.Bytes) -> None:
        """Free pinned memory; its array must not be used again."""
        with _engine_errors():
            _take(self._pinned, buffer.ctypes.data, "pinned memory").free()

    def create_stream(self) -> int:
        """Return a stream that does not wait for the default stream, which other libraries use."""
        with _engine_errors():
            stream = cuda.Stream(_NON_BLOCKING_STREAM)
        self._streams[stream.handle] = stream
        return int(stream.handle)

    def destroy_stream(self, stream: int) -> None:
        """Destroy a stream, which pycuda does when nothing refers to it."""
        _take(self._streams, stream, "stream")

    def copy_to_device(self, address: int, source: base.Bytes, size: int, stream: int) -> None:
        """Enqueue a copy of the first ``size`` bytes of ``source``."""
        base.check_copy(source, size)
        with _engine_errors():
            cuda.memcpy_htod_async(address, source[:size], self._stream(stream))

    def copy_to_host(self, target: base.Bytes, address: int, size: int, stream: int) -> None:
        """Enqueue a copy into the first ``size`` bytes of ``target``."""
        base.check_copy(target, size)
        with _engine_errors():
            cuda.memcpy_dtoh_async(target[:size], address, self._stream(stream))

    def synchronize(self, stream: int) -> None:
        """Wait until everything enqueued is done."""
        with _engine_errors():
            self._stream(stream).synchronize()

    def _refuse_graphs(self, *_: Any, **__: Any) -> Any:
        raise EngineError("pycuda has no CUDA graphs; install cuda-bindings for them")

    begin_capture = end_capture = launch = destroy_graph = _refuse_graphs

    def close(self) -> None:
        """Release the primary context.

        pycuda's ``detach`` releases it only where it is current, or in the thread that opened it,
        and leaves it on that thread's stack. So it is pushed through pycuda first, and popped
        through the driver.
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


def _open_device(device: int) -> Any:
    try:
        cuda.init()
        devices = cuda.Device.count()
    except cuda.Error as error:
        raise base.no_driver(error) from error
    if not 0 <= device < devices:
        raise base.no_device(device, devices=devices)
    with _engine_errors():
        return cuda.Device(device)


def _pop_from_driver() -> None:
    """Call ``cuCtxPopCurrent`` alone; pycuda's method changes its own stack too."""
    library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    if status := library.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p())):
        raise EngineError(f"cuCtxPopCurrent failed with CUDA's error {status}")


def _take(kept: dict[int, Any], key: int, what: str) -> Any:
    if key not in kept:
        raise EngineError(
            f"there is no {what} {key:#x} to free; it was freed before, or is another's"
        )
    return kept.pop(key)


@contextlib.contextmanager
def _engine_errors() -> Iterator[None]:
    """Raise pycuda's errors as ``EngineError``, with CUDA's message."""
    try:
        yield
    except cuda.Error as error:
        raise EngineError(error) from error

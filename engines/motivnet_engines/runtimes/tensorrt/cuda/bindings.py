"""CUDA memory through ``cuda.bindings.driver``, NVIDIA's bindings; used by default."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from motivnet.artifact.engine_entry import EngineDevice
from motivnet.errors import EngineError, MissingDependencyError
from motivnet_engines.runtimes.tensorrt.cuda import base

try:
    from cuda.bindings import driver
except ImportError as error:
    raise MissingDependencyError("cuda-bindings", extra="trt") from error


class CudaBindingsMemory:
    """``CudaMemory`` of one device; opening it retains the primary context.

    Raises:
        RuntimeUnavailableError: If there is no driver, or no such device.
    """

    name: base.MemoryName = "cuda-bindings"
    captures_graphs = True

    def __init__(self, device: int) -> None:
        self._closing = threading.Lock()
        self._closed = False
        self._device = _open_device(device)
        self._context = _call(driver.cuDevicePrimaryCtxRetain, self._device)

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """Push the primary context, and pop it at the end of the block."""
        if self._closed:
            raise base.closed()
        _call(driver.cuCtxPushCurrent, self._context)
        try:
            yield
        finally:
            _call(driver.cuCtxPopCurrent)

    def device(self) -> EngineDevice:
        """Return what the driver says about the device."""
        attribute = driver.CUdevice_attribute
        major, minor = (
            _call(driver.cuDeviceGetAttribute, name, self._device)
            for name in (
                attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            )
        )
        return base.device_info(
            name=_call(driver.cuDeviceGetName, 256, self._device).split(b"\0")[0].decode(),
            capability=(major, minor),
            memory=int(_call(driver.cuDeviceTotalMem, self._device)),
            cuda_version=_call(driver.cuDriverGetVersion),
        )

    def allocate(self, size: int) -> int:
        """Return the address of so many bytes of device memory."""
        status, address = driver.cuMemAlloc(size)
        if status == driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
            free, total = _call(driver.cuMemGetInfo)
            raise base.out_of_memory(size, free=int(free), total=int(total))
        _check(driver.cuMemAlloc, status)
        return int(address)

    def free(self, address: int) -> None:
        """Free device memory."""
        _call(driver.cuMemFree, address)

    def allocate_pinned(self, size: int) -> base.Bytes:
        """Return so many bytes of pinned host memory."""
        status, address = driver.cuMemHostAlloc(size, 0)
        if status == driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
            raise base.out_of_host_memory(size)
        _check(driver.cuMemHostAlloc, status)
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(int(address)))

    def free_pinned(self, buffer: base.Bytes) -> None:
        """Free pinned memory; its array must not be used again."""
        _call(driver.cuMemFreeHost, buffer.ctypes.data)

    def create_stream(self) -> int:
        """Return a stream that does not wait for the default stream, which other libraries use."""
        return int(_call(driver.cuStreamCreate, driver.CUstream_flags.CU_STREAM_NON_BLOCKING))

    def destroy_stream(self, stream: int) -> None:
        """Destroy a stream."""
        _call(driver.cuStreamDestroy, stream)

    def copy_to_device(self, address: int, source: base.Bytes, size: int, stream: int) -> None:
        """Enqueue a copy of the first ``size`` bytes of ``source``."""
        base.check_copy(source, size)
        _call(driver.cuMemcpyHtoDAsync, address, source.ctypes.data, size, stream)

    def copy_to_host(self, target: base.Bytes, address: int, size: int, stream: int) -> None:
        """Enqueue a copy into the first ``size`` bytes of ``target``."""
        base.check_copy(target, size)
        _call(driver.cuMemcpyDtoHAsync, target.ctypes.data, address, size, stream)

    def synchronize(self, stream: int) -> None:
        """Wait until everything enqueued is done."""
        _call(driver.cuStreamSynchronize, stream)

    def begin_capture(self, stream: int) -> None:
        """Record what this thread enqueues; other threads are not affected."""
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        _call(driver.cuStreamBeginCapture, stream, mode)

    def end_capture(self, stream: int) -> Any:
        """Return the executable graph of what was recorded."""
        graph = _call(driver.cuStreamEndCapture, stream)
        try:
            return _call(driver.cuGraphInstantiate, graph, 0)
        finally:
            _call(driver.cuGraphDestroy, graph)

    def launch(self, graph: Any, stream: int) -> None:
        """Enqueue a graph."""
        _call(driver.cuGraphLaunch, graph, stream)

    def destroy_graph(self, graph: Any) -> None:
        """Destroy an executable graph."""
        _call(driver.cuGraphExecDestroy, graph)

    def close(self) -> None:
        """Release the primary context."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        _call(driver.cuDevicePrimaryCtxRelease, self._device)


def _open_device(device: int) -> Any:
    try:
        _call(driver.cuInit, 0)
        devices = int(_call(driver.cuDeviceGetCount))
    except (EngineError, RuntimeError) as error:  # RuntimeError: the library is missing
        raise base.no_driver(error) from error
    if not 0 <= device < devices:
        raise base.no_device(device, devices=devices)
    return _call(driver.cuDeviceGet, device)


def _call(function: Callable[..., tuple[Any, ...]], *arguments: Any) -> Any:
    """Return the function's results without its status: None, one, or a tuple."""
    status, *results = function(*arguments)
    _check(function, status)
    if not results:
        return None
    return results[0] if len(results) == 1 else tuple(results)


def _check(function: Callable[..., tuple[Any, ...]], status: Any) -> None:
    if status == driver.CUresult.CUDA_SUCCESS:
        return
    _, text = driver.cuGetErrorString(status)
    words = text.decode() if text else "unknown error"
    raise EngineError(f"{function.__name__}: {words} ({getattr(status, 'name', status)})")

"""CUDA memory through ``cuda.bindings.driver``, NVIDIA's own bindings of the driver API: the default."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Callable, Iterator
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
    from cuda.bindings import driver
except ImportError as error:
    raise MissingDependencyError("cuda-bindings", extra="trt") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMemory:
    """Pinned bytes."""

    array: NDArray[np.uint8]


class CudaBindingsMemory:
    """``CudaMemory`` of one device; opening it retains the primary context.

    Raises:
        RuntimeUnavailableError: If there is no driver, or no such device.
    """

    name: MemoryName = "cuda-bindings"
    captures_graphs = True

    def __init__(self, device: int) -> None:
        self._closing = threading.Lock()
        self._closed = False
        self._device = _opened_device(device)
        self._context = _call(driver.cuDevicePrimaryCtxRetain, self._device)

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """Pushes the primary context, and pops it at the end of the block."""
        if self._closed:
            raise EngineError("the CUDA memory is closed; open the runtime again")
        _call(driver.cuCtxPushCurrent, self._context)
        try:
            yield
        finally:
            _call(driver.cuCtxPopCurrent)

    def device(self) -> DeviceInfo:
        """What the driver says about the device."""
        attribute = driver.CUdevice_attribute
        major = _call(
            driver.cuDeviceGetAttribute,
            attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
            self._device,
        )
        minor = _call(
            driver.cuDeviceGetAttribute,
            attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            self._device,
        )
        version = _call(driver.cuDriverGetVersion)
        return DeviceInfo(
            name=_call(driver.cuDeviceGetName, 256, self._device).split(b"\0")[0].decode(),
            compute_capability=f"{major}.{minor}",
            memory=int(_call(driver.cuDeviceTotalMem, self._device)),
            driver=f"{version // 1000}.{version % 1000 // 10}",
        )

    def allocate(self, size: int) -> int:
        """Device memory of so many bytes."""
        status, address = driver.cuMemAlloc(size)
        if status == driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
            free, total = _call(driver.cuMemGetInfo)
            raise out_of_memory(size, free=int(free), total=int(total))
        _check(driver.cuMemAlloc, status)
        return int(address)

    def free(self, address: int) -> None:
        """Frees device memory."""
        _call(driver.cuMemFree, address)

    def allocate_pinned(self, size: int) -> PinnedBuffer:
        """Pinned host memory of so many bytes."""
        status, address = driver.cuMemHostAlloc(size, 0)
        if status == driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
            raise out_of_host_memory(size)
        _check(driver.cuMemHostAlloc, status)
        return HostMemory(
            array=np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(int(address)))
        )

    def free_pinned(self, buffer: PinnedBuffer) -> None:
        """Frees pinned memory; its array must not be touched again."""
        _call(driver.cuMemFreeHost, buffer.array.ctypes.data)

    def create_stream(self) -> int:
        """A stream that does not wait for the default stream, where other libraries work."""
        return int(_call(driver.cuStreamCreate, driver.CUstream_flags.CU_STREAM_NON_BLOCKING))

    def destroy_stream(self, stream: int) -> None:
        """Destroys a stream."""
        _call(driver.cuStreamDestroy, stream)

    def copy_to_device(self, address: int, source: PinnedBuffer, size: int, stream: int) -> None:
        """Enqueues a copy of the first ``size`` bytes of ``source``."""
        check_copy(source, size)
        _call(driver.cuMemcpyHtoDAsync, address, source.array.ctypes.data, size, stream)

    def copy_to_host(self, target: PinnedBuffer, address: int, size: int, stream: int) -> None:
        """Enqueues a copy into the first ``size`` bytes of ``target``."""
        check_copy(target, size)
        _call(driver.cuMemcpyDtoHAsync, target.array.ctypes.data, address, size, stream)

    def synchronize(self, stream: int) -> None:
        """Waits until everything enqueued is done."""
        _call(driver.cuStreamSynchronize, stream)

    def begin_capture(self, stream: int) -> None:
        """Records what this thread enqueues, while other threads go on as they like."""
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        _call(driver.cuStreamBeginCapture, stream, mode)

    def end_capture(self, stream: int) -> Any:
        """The executable graph of what was recorded."""
        graph = _call(driver.cuStreamEndCapture, stream)
        try:
            return _call(driver.cuGraphInstantiate, graph, 0)
        finally:
            _call(driver.cuGraphDestroy, graph)

    def launch(self, graph: Any, stream: int) -> None:
        """Enqueues a graph."""
        _call(driver.cuGraphLaunch, graph, stream)

    def destroy_graph(self, graph: Any) -> None:
        """Destroys an executable graph."""
        _call(driver.cuGraphExecDestroy, graph)

    def close(self) -> None:
        """Releases the primary context."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        _call(driver.cuDevicePrimaryCtxRelease, self._device)


def _opened_device(device: int) -> Any:
    try:
        _call(driver.cuInit, 0)
        devices = int(_call(driver.cuDeviceGetCount))
    except (
        EngineError,
        RuntimeError,
    ) as error:  # the bindings' own error for a missing library is a RuntimeError
        raise no_driver(error) from error
    if not 0 <= device < devices:
        raise no_device(device, devices=devices)
    return _call(driver.cuDeviceGet, device)


def _call(function: Callable[..., tuple[Any, ...]], *arguments: Any) -> Any:
    """The function's results without its status: nothing, one, or a tuple."""
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

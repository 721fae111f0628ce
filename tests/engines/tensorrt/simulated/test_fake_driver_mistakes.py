"""The fake driver notices mistakes, and refuses what a driver refuses."""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fake_cuda.calls import Cuda

INVALID_VALUE, INVALID_CONTEXT, INVALID_HANDLE, NOT_PERMITTED = 1, 201, 400, 800
CAPTURE_UNSUPPORTED, CAPTURE_INVALIDATED, CAPTURE_IMPLICIT, WRONG_THREAD = 900, 901, 906, 908
THREAD_LOCAL, GLOBAL = 1, 0


def test_a_kernel_that_touches_freed_memory_is_a_violation(cuda) -> None:
    stream, device = cuda.stream(), cuda.device_memory()
    cuda.call("cuMemFree_v2", ctypes.c_uint64(device))
    assert cuda.fake.launch_kernel(stream, lambda: None, touches=[(device, 8)]) == INVALID_VALUE
    with pytest.raises(ValueError, match="touches freed device memory"):
        cuda.fake.device_array(device, (2,), np.float32)
    assert cuda.fake.take_violations() == [
        "a kernel with freed device memory",
        "a kernel touches freed device memory",
    ]


def test_a_buffer_freed_under_a_queued_kernel_is_a_violation(cuda) -> None:
    stream, device = cuda.stream(), cuda.device_memory()
    cuda.fake.launch_kernel(stream, lambda: None, touches=[(device, 64)])
    cuda.call("cuMemFree_v2", ctypes.c_uint64(device))
    assert cuda.fake.take_violations() == ["cuMemFree of memory that a queued a kernel still needs"]


def test_host_memory_that_is_not_pinned_is_a_violation_in_an_asynchronous_copy_alone(cuda) -> None:
    stream, device = cuda.stream(), cuda.device_memory()
    array = np.full(64, 5, np.uint8)
    assert cuda.call("cuMemcpyHtoD_v2", *map(ctypes.c_void_p, (device, array.ctypes.data, 64))) == 0
    assert cuda.fake.violations() == []
    assert cuda.to_device(device, array.ctypes.data, stream) == 0
    assert cuda.fake.take_violations() == ["cuMemcpyHtoDAsync with host memory that is not pinned"]


@pytest.mark.parametrize(
    ("offset", "size", "problem"),
    [
        (0, 65, "past the end"),
        (60, 8, "past the end"),
        (1 << 40, 8, "an address that is no device memory"),
    ],
)
def test_a_copy_outside_of_an_allocation_is_refused(cuda, offset, size, problem) -> None:
    stream, device = cuda.stream(), cuda.device_memory(64)
    source, _ = cuda.pinned(128)
    assert cuda.to_device(device + offset, source, stream, size) == INVALID_VALUE
    (text,) = cuda.fake.take_violations()
    assert problem in text


def test_a_destroyed_stream_is_known_for_one(cuda) -> None:
    stream = cuda.stream()
    cuda.call("cuStreamDestroy_v2", ctypes.c_void_p(stream))
    assert cuda.wait(stream) == INVALID_HANDLE
    assert "destroyed" in cuda.fake.take_violations()[0]


def test_releasing_the_context_with_anything_alive_or_while_current_is_a_violation(cuda) -> None:
    cuda.device_memory()
    cuda.stream()
    assert cuda.call("cuDevicePrimaryCtxRelease_v2", 0) == 0
    alive, current = cuda.fake.take_violations()
    assert alive.startswith(
        "the primary context was released with 1 device allocations, 0 pinned, 1 streams"
    )
    assert current == "the primary context was released while it is current 1 times"
    assert cuda.call("cuDevicePrimaryCtxRelease_v2", 0) == INVALID_CONTEXT
    assert "more often than retained" in cuda.fake.take_violations()[0]


def test_a_capture_in_global_mode_forbids_other_threads_to_allocate(cuda) -> None:
    stream, context = cuda.stream(), ctypes.c_void_p()
    cuda.call("cuCtxGetCurrent", ctypes.byref(context))

    def allocate() -> int:
        cuda.call("cuCtxPushCurrent_v2", context)
        status = cuda.call("cuMemAlloc_v2", ctypes.byref(ctypes.c_void_p()), ctypes.c_size_t(8))
        cuda.call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))
        return status

    for mode, allowed, ended in (
        (GLOBAL, CAPTURE_UNSUPPORTED, CAPTURE_INVALIDATED),
        (THREAD_LOCAL, 0, 0),
    ):
        assert cuda.call("cuStreamBeginCapture_v2", ctypes.c_void_p(stream), mode) == 0
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(allocate).result() == allowed
        graph = ctypes.c_void_p()
        assert (
            cuda.call("cuStreamEndCapture", ctypes.c_void_p(stream), ctypes.byref(graph)) == ended
        )


def test_a_capture_ends_only_in_the_thread_that_began_it(cuda) -> None:
    stream, context = cuda.stream(), ctypes.c_void_p()
    cuda.call("cuCtxGetCurrent", ctypes.byref(context))
    cuda.call("cuStreamBeginCapture_v2", ctypes.c_void_p(stream), THREAD_LOCAL)

    def end() -> int:
        cuda.call("cuCtxPushCurrent_v2", context)
        status = cuda.call(
            "cuStreamEndCapture", ctypes.c_void_p(stream), ctypes.byref(ctypes.c_void_p())
        )
        cuda.call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))
        return status

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(end).result() == WRONG_THREAD


def test_the_default_stream_disturbs_the_capture_of_a_blocking_stream(cuda) -> None:
    stream = cuda.stream(0)
    cuda.call("cuStreamBeginCapture_v2", ctypes.c_void_p(stream), THREAD_LOCAL)
    assert cuda.fake.launch_kernel(0, lambda: None) == CAPTURE_IMPLICIT


def test_a_host_function_runs_in_its_turn_and_may_not_call_cuda(cuda) -> None:
    stream = cuda.stream()
    statuses = []
    assert cuda.fake.launch_host_function(stream, lambda: statuses.append(cuda.query(stream))) == 0
    assert statuses == []
    assert cuda.wait(stream) == 0
    assert statuses == [NOT_PERMITTED]
    assert cuda.fake.take_violations() == ["cuStreamQuery called from inside a host function"]


def test_every_call_without_a_current_context_is_refused(fake) -> None:
    cuda = Cuda(fake)
    cuda.call("cuInit", 0)
    out = ctypes.c_void_p()
    assert cuda.call("cuMemAlloc_v2", ctypes.byref(out), ctypes.c_size_t(8)) == INVALID_CONTEXT
    assert cuda.call("cuStreamCreate", ctypes.byref(out), 0) == INVALID_CONTEXT
    assert cuda.call("cuCtxSynchronize") == INVALID_CONTEXT
    assert cuda.call("cuCtxPopCurrent_v2", ctypes.byref(out)) == INVALID_CONTEXT


def test_a_context_is_current_in_its_own_thread_only(cuda) -> None:
    with ThreadPoolExecutor(1) as pool:
        out = ctypes.c_void_p()
        status = pool.submit(cuda.call, "cuStreamCreate", ctypes.byref(out), 0).result()
    assert status == INVALID_CONTEXT

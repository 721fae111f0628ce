"""The fake driver itself, through its C calls: it defers, keeps order and answers like one."""

from __future__ import annotations

import ctypes
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

OUT_OF_MEMORY, NOT_FOUND, NOT_READY, LAUNCH_FAILED, NOT_SUPPORTED = 2, 500, 600, 719, 801
NON_BLOCKING = 1


def test_a_copy_is_done_when_it_is_waited_for_and_not_before(cuda) -> None:
    stream, device = cuda.stream(), cuda.device_memory()
    source, source_bytes = cuda.pinned()
    target, target_bytes = cuda.pinned()
    source_bytes[:], target_bytes[:] = 3, 1
    assert cuda.to_device(device, source, stream) == 0
    assert cuda.to_host(target, device, stream) == 0
    assert set(target_bytes) == {0xEE}, "the target of a queued copy is undefined"
    assert cuda.fake.queued_operations() == 2
    assert cuda.wait(stream) == 0
    assert set(target_bytes) == {3}


def test_new_memory_and_freed_memory_are_poison(cuda) -> None:
    device = cuda.device_memory(4)
    _, pinned = cuda.pinned()
    assert set(pinned) == {0xFF}
    assert np.isnan(cuda.fake.device_array(device, (1,), np.float32)[0])
    assert cuda.call("cuMemFree_v2", ctypes.c_uint64(device)) == 0
    assert set((ctypes.c_uint8 * 4).from_address(device)) == {0xDD}


def test_a_poll_says_not_ready_and_makes_one_step_of_progress(cuda) -> None:
    stream = cuda.stream()
    ran = []
    for number in range(2):
        assert cuda.fake.launch_kernel(stream, lambda number=number: ran.append(number)) == 0
    assert (cuda.query(stream), ran) == (NOT_READY, [0])
    assert (cuda.query(stream), ran) == (NOT_READY, [0, 1])
    assert cuda.query(stream) == 0


def test_an_event_is_reached_when_all_before_it_ran_and_nothing_after(cuda) -> None:
    stream, event = cuda.stream(), cuda.made("cuEventCreate", 0)
    ran = []
    cuda.fake.launch_kernel(stream, lambda: ran.append("before"))
    assert cuda.record(event, stream) == 0
    cuda.fake.launch_kernel(stream, lambda: ran.append("after"))
    assert cuda.call("cuEventSynchronize", ctypes.c_void_p(event)) == 0
    assert ran == ["before"]
    cuda.wait(stream)
    assert ran == ["before", "after"]


def test_a_stream_that_waits_for_an_event_runs_the_other_stream_first(cuda) -> None:
    first, second, event = cuda.stream(), cuda.stream(), cuda.made("cuEventCreate", 0)
    ran = []
    cuda.fake.launch_kernel(first, lambda: ran.append("first"))
    cuda.record(event, first)
    cuda.call("cuStreamWaitEvent", ctypes.c_void_p(second), ctypes.c_void_p(event), 0)
    cuda.fake.launch_kernel(second, lambda: ran.append("second"))
    cuda.wait(second)
    assert ran == ["first", "second"]


def test_an_event_tells_the_time_between(cuda) -> None:
    stream = cuda.stream()
    start, end = cuda.made("cuEventCreate", 0), cuda.made("cuEventCreate", 0)
    elapsed = ctypes.c_float(-1)
    arguments = (ctypes.byref(elapsed), ctypes.c_void_p(start), ctypes.c_void_p(end))
    cuda.record(start, stream)
    cuda.record(end, stream)
    assert cuda.call("cuEventElapsedTime_v2", *arguments) == NOT_READY
    cuda.wait(stream)
    assert cuda.call("cuEventElapsedTime_v2", *arguments) == 0
    assert elapsed.value >= 0


@pytest.mark.parametrize(
    ("flags", "expected"), [(0, ["blocking", "default"]), (NON_BLOCKING, ["default"])]
)
def test_the_default_stream_waits_for_blocking_streams_alone(cuda, flags, expected) -> None:
    stream = cuda.stream(flags)
    ran = []
    cuda.fake.launch_kernel(stream, lambda: ran.append("blocking"))
    cuda.fake.launch_kernel(0, lambda: ran.append("default"))
    cuda.wait(0)
    assert ran == expected
    cuda.wait(stream)


def test_a_blocking_stream_waits_for_earlier_work_of_the_default_stream(cuda) -> None:
    stream = cuda.stream(0)
    ran = []
    cuda.fake.launch_kernel(0, lambda: ran.append("default"))
    cuda.fake.launch_kernel(stream, lambda: ran.append("blocking"))
    cuda.wait(stream)
    assert ran == ["default", "blocking"]


def test_synchronising_the_context_runs_every_stream(cuda) -> None:
    ran = []
    for number in range(3):
        cuda.fake.launch_kernel(cuda.stream(), lambda number=number: ran.append(number))
    assert cuda.call("cuCtxSynchronize") == 0
    assert sorted(ran) == [0, 1, 2]


def test_eight_threads_wait_for_kernels_of_one_stream_without_a_deadlock(cuda) -> None:
    """The kernels want the interpreter's lock while other threads wait in C."""
    stream, context = cuda.stream(), ctypes.c_void_p()
    cuda.call("cuCtxGetCurrent", ctypes.byref(context))
    ran = []

    def work() -> None:
        cuda.call("cuCtxPushCurrent_v2", context)
        for _ in range(50):
            cuda.fake.launch_kernel(stream, lambda: ran.append(threading.get_ident()))
            assert cuda.wait(stream) == 0
        cuda.call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(work) for _ in range(8)]:
            future.result()
    assert len(ran) == 400


def test_a_kernel_that_raises_fails_the_context_for_good(cuda) -> None:
    def fault() -> None:
        raise ZeroDivisionError

    stream, later = cuda.stream(), []
    cuda.fake.launch_kernel(stream, fault)
    cuda.fake.launch_kernel(stream, lambda: later.append(1))
    assert cuda.wait(stream) == LAUNCH_FAILED
    out = ctypes.c_void_p()
    assert cuda.call("cuMemAlloc_v2", ctypes.byref(out), ctypes.c_size_t(8)) == LAUNCH_FAILED
    assert later == []
    assert [type(error) for error in cuda.fake.kernel_errors] == [ZeroDivisionError]


def test_memory_beyond_the_limit_is_refused_until_some_is_freed(cuda) -> None:
    cuda.fake.set_memory_limit(100)
    first = cuda.device_memory(60)
    out = ctypes.c_void_p()
    assert cuda.call("cuMemAlloc_v2", ctypes.byref(out), ctypes.c_size_t(41)) == OUT_OF_MEMORY
    cuda.call("cuMemFree_v2", ctypes.c_uint64(first))
    assert cuda.device_memory(100)


def test_a_planted_failure_comes_once_and_in_its_turn(cuda) -> None:
    cuda.fake.fail_next("cuMemAlloc", OUT_OF_MEMORY, after=1)
    out = ctypes.c_void_p()
    statuses = [cuda.call("cuMemAlloc_v2", ctypes.byref(out), ctypes.c_size_t(8)) for _ in range(3)]
    assert statuses == [0, OUT_OF_MEMORY, 0]
    assert cuda.fake.calls("cuMemAlloc") == 3


def test_functions_are_found_by_name_and_version(cuda) -> None:
    def found(name: str, version: int) -> tuple[int, bool]:
        out = ctypes.c_void_p()
        flags, status = ctypes.c_uint64(0), ctypes.c_int(-1)
        result = cuda.call(
            "cuGetProcAddress_v2",
            name.encode(),
            ctypes.byref(out),
            version,
            flags,
            ctypes.byref(status),
        )
        return result, bool(out.value)

    assert found("cuMemAlloc", 12000) == (0, True)
    assert found("cuGraphInstantiate", 12000) == (0, True)
    assert found("cuTensorMapEncodeTiled", 13000) == (NOT_FOUND, False)


def test_what_is_not_simulated_says_so_and_everything_has_a_name(cuda) -> None:
    assert cuda.call("cuLaunchKernel") == NOT_SUPPORTED
    text = ctypes.c_char_p()
    assert cuda.call("cuGetErrorString", NOT_SUPPORTED, ctypes.byref(text)) == 0
    assert text.value == b"operation not supported"


def test_a_reset_forgets_everything(cuda) -> None:
    cuda.device_memory()
    cuda.pinned()
    cuda.fake.launch_kernel(cuda.stream(), lambda: None)
    cuda.fake.forget()
    cuda.fake.assert_clean()
    assert cuda.fake.queued_operations() == 0
    assert cuda.fake.context_stack_depth() == 0

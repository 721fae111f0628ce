"""The primary context: retained, pushed, popped and released by both implementations."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fake_cuda.buffers import random_bytes, round_trip

from motivnet.errors import EngineError, RuntimeUnavailableError
from motivnet_engines.runtimes.tensorrt.cuda import open_memory


def test_the_context_is_popped_after_an_error_in_its_block(memory, fake) -> None:
    nothing: dict[str, int] = {}
    with pytest.raises(KeyError), memory.current():
        nothing["there"]
    assert fake.context_stack_depth() == 0


def test_the_context_can_be_entered_again_inside_itself(memory, fake) -> None:
    with memory.current():
        with memory.current():
            memory.free(memory.allocate(16))
        memory.free(memory.allocate(16))
    assert fake.context_stack_depth() == 0


def test_two_memories_of_one_device_live_and_close_apart(memory, memory_name, fake) -> None:
    other = open_memory(memory_name)
    assert fake.primary_retains() == 2
    other.close()
    assert fake.primary_retains() == 1
    assert np.array_equal(round_trip(memory, random_bytes()), random_bytes())


def test_both_implementations_work_in_one_process(memory) -> None:
    other = open_memory("cuda-bindings")
    with memory.current(), other.current():
        other.free(other.allocate(16))
    other.close()
    assert np.array_equal(round_trip(memory, random_bytes()), random_bytes())


def test_close_releases_the_primary_context_and_pops_it(memory, fake) -> None:
    round_trip(memory, random_bytes())
    memory.close()
    assert fake.live() == {}
    assert fake.context_stack_depth() == 0


def test_a_second_close_does_nothing(memory, fake) -> None:
    memory.close()
    memory.close()
    assert fake.calls("cuDevicePrimaryCtxRelease") == 1


def test_a_closed_memory_says_that_it_is_closed(memory) -> None:
    memory.close()
    with pytest.raises(EngineError, match="is closed; open the runtime again"), memory.current():
        pytest.fail("the block was entered")


def test_close_in_another_thread_than_open_releases_and_pops_too(memory, fake) -> None:
    depths = []

    def close() -> None:
        memory.close()
        depths.append(fake.context_stack_depth())

    thread = threading.Thread(target=close)
    thread.start()
    thread.join()
    assert depths == [0]
    assert fake.live() == {}


def test_eight_threads_close_at_once_and_one_releases(memory, fake) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: memory.close(), range(8)))
    assert fake.calls("cuDevicePrimaryCtxRelease") == 1


def test_a_device_that_is_not_there_is_refused_and_retains_nothing(fake, memory_name) -> None:
    for device in (-1, 1):
        with pytest.raises(
            RuntimeUnavailableError, match=f"no CUDA device {device}; choose 0 to 0"
        ):
            open_memory(memory_name, device=device)
    assert fake.primary_retains() == 0


def test_a_driver_without_a_gpu_is_named_with_its_remedy(fake, memory_name) -> None:
    fake.set_device_count(0)
    with pytest.raises(
        RuntimeUnavailableError, match=r"no CUDA-capable device.*; install NVIDIA's driver"
    ):
        open_memory(memory_name)


def test_a_context_that_cannot_be_retained_is_an_error_in_cudas_words(fake, memory_name) -> None:
    fake.fail_next("cuDevicePrimaryCtxRetain", 2)
    with pytest.raises(EngineError, match=r"cuDevicePrimaryCtxRetain.*out of memory"):
        open_memory(memory_name)


def test_another_user_of_the_primary_context_keeps_it(memory, fake) -> None:
    """Torch and ONNX Runtime: they retain it too, allocate in it, and go on after we closed."""
    from cuda.bindings import driver

    _, context = driver.cuDevicePrimaryCtxRetain(0)
    driver.cuCtxPushCurrent(context)
    _, theirs = driver.cuMemAlloc(256)
    round_trip(memory, random_bytes())
    memory.close()
    assert fake.primary_retains() == 1
    assert fake.live_allocations() == 1
    assert fake.context_stack_depth() == 1
    assert driver.cuMemFree(theirs) == (driver.CUresult.CUDA_SUCCESS,)
    driver.cuCtxPopCurrent()
    driver.cuDevicePrimaryCtxRelease(0)


def test_a_context_that_the_thread_had_before_is_current_again_after(memory, fake) -> None:
    """A library with a context of its own, as ``pycuda.autoinit`` makes one."""
    from cuda.bindings import driver

    device = driver.cuDeviceGet(0)[1]
    created = driver.cuCtxCreate(*_no_parameters(driver), 0, device)[1]
    round_trip(memory, random_bytes())
    memory.close()
    assert int(driver.cuCtxGetCurrent()[1]) == int(created)
    assert driver.cuCtxDestroy(created) == (driver.CUresult.CUDA_SUCCESS,)


@pytest.mark.parametrize("memory_name", ["pycuda"], indirect=True)
def test_a_context_that_pycuda_made_for_another_is_current_again_after(memory, fake) -> None:
    """What ``pycuda.autoinit`` does, which may stand in the same program."""
    import pycuda.driver

    created = pycuda.driver.Device(0).make_context()
    for _ in range(2):
        round_trip(memory, random_bytes())
        assert pycuda.driver.Context.get_current() == created
        assert fake.context_stack_depth() == 1
    memory.close()
    assert pycuda.driver.Context.get_current() == created
    assert fake.context_stack_depth() == 1
    created.pop()
    created.detach()


def _no_parameters(driver) -> tuple[None, ...]:
    """CUDA 13's bindings have a parameter more."""
    return (None,) if "ctxCreateParams" in (driver.cuCtxCreate.__doc__ or "") else ()

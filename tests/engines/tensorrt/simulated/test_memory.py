"""Both implementations of CudaMemory on the fake driver: what they move, refuse and name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pytest
from fake_cuda.buffers import BYTES, buffers, random_bytes, round_trip

from motivnet.errors import EngineError


def test_the_name_asked_for_is_the_implementation_that_opens(memory, memory_name) -> None:
    assert memory.name == memory_name
    assert memory.captures_graphs == (memory_name == "cuda-bindings")


def test_bytes_come_back_from_the_device_as_they_were(memory) -> None:
    content = random_bytes()
    assert np.array_equal(round_trip(memory, content), content)


def test_a_copy_of_fewer_bytes_leaves_the_rest_of_device_memory_alone(memory) -> None:
    with memory.current(), buffers(memory) as its:
        for value, size in ((9, BYTES), (7, 100)):
            its.source[:] = value
            memory.copy_to_device(its.device, its.source, size, its.stream)
            memory.synchronize(its.stream)
        memory.copy_to_host(its.target, its.device, BYTES, its.stream)
        memory.synchronize(its.stream)
        assert set(its.target[:100]) == {7}
        assert set(its.target[100:]) == {9}


def test_a_copy_of_fewer_bytes_leaves_the_rest_of_host_memory_alone(memory) -> None:
    with memory.current(), buffers(memory) as its:
        its.source[:] = 7
        its.target[:] = 1
        memory.copy_to_device(its.device, its.source, BYTES, its.stream)
        memory.copy_to_host(its.target, its.device, 100, its.stream)
        memory.synchronize(its.stream)
        assert set(its.target[:100]) == {7}
        assert set(its.target[100:]) == {1}


def test_the_device_is_described(memory) -> None:
    device = memory.device()
    assert (device.name, device.compute_capability) == ("Simulated GPU (no real device)", "8.6")
    assert (device.memory, device.driver) == (8 << 30, "13.0")


def test_streams_do_not_wait_for_the_default_stream(memory, fake) -> None:
    with memory.current():
        stream = memory.create_stream()
        ran = []
        assert fake.launch_kernel(0, lambda: ran.append("default")) == 0
        assert fake.launch_kernel(stream, lambda: ran.append("ours")) == 0
        memory.synchronize(stream)
        assert ran == ["ours"]
        fake.library.cuStreamSynchronize(None)
        memory.destroy_stream(stream)


def test_a_kernel_between_the_copies_sees_the_one_and_is_seen_by_the_other(memory, fake) -> None:
    content = random_bytes(64)
    with memory.current(), buffers(memory, 64) as its:

        def invert() -> None:
            fake.device_array(its.device, (64,), np.uint8)[:] ^= 0xFF

        its.source[:] = content
        memory.copy_to_device(its.device, its.source, 64, its.stream)
        assert fake.launch_kernel(its.stream, invert, touches=[(its.device, 64)]) == 0
        memory.copy_to_host(its.target, its.device, 64, its.stream)
        memory.synchronize(its.stream)
        assert np.array_equal(its.target, content ^ 0xFF)


def test_out_of_memory_names_the_bytes_asked_for_and_those_free(memory, fake) -> None:
    fake.set_memory_limit(10_000)
    with memory.current():
        first = memory.allocate(4_000)
        with pytest.raises(EngineError, match=r"no 8000 bytes left \(6000 of 10000 are free\)"):
            memory.allocate(8_000)
        memory.free(first)
        memory.free(memory.allocate(8_000))


def test_out_of_pinned_memory_names_the_bytes_asked_for(memory, fake) -> None:
    fake.fail_next("cuMemHostAlloc", 2)
    with (
        memory.current(),
        pytest.raises(EngineError, match="the host has no 8000 bytes left to pin"),
    ):
        memory.allocate_pinned(8_000)


def test_a_call_outside_of_the_context_is_refused(memory) -> None:
    with pytest.raises(EngineError, match="context"):
        memory.allocate(16)
    with pytest.raises(EngineError, match="context"):
        memory.create_stream()


def test_a_copy_past_the_end_of_a_pinned_buffer_is_refused(memory) -> None:
    with memory.current(), buffers(memory, 64) as its:
        with pytest.raises(ValueError, match="65 bytes does not fit a pinned buffer of 64"):
            memory.copy_to_device(its.device, its.source, 65, its.stream)
        with pytest.raises(ValueError, match="65 bytes does not fit a pinned buffer of 64"):
            memory.copy_to_host(its.target, its.device, 65, its.stream)


def test_a_copy_past_the_end_of_device_memory_is_refused_by_the_driver(memory, fake) -> None:
    with memory.current(), buffers(memory, 64) as its:
        with pytest.raises(EngineError, match="invalid argument"):
            memory.copy_to_device(its.device + 1, its.source, 64, its.stream)
        assert "past the end" in fake.take_violations()[0]


def test_eight_threads_share_one_memory(memory, fake) -> None:
    def work(seed: int) -> bool:
        contents = [random_bytes(seed=seed * 100 + index) for index in range(20)]
        return all(np.array_equal(round_trip(memory, content), content) for content in contents)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert fake.unpopped_contexts() == 0


def test_buffers_of_one_thread_are_used_and_freed_by_another(memory, fake) -> None:
    with memory.current():
        stack = ExitStack()
        its = stack.enter_context(buffers(memory))

    def use() -> bool:
        with memory.current():
            its.source[:] = 9
            memory.copy_to_device(its.device, its.source, BYTES, its.stream)
            memory.copy_to_host(its.target, its.device, BYTES, its.stream)
            memory.synchronize(its.stream)
            right = bool((its.target == 9).all())
            stack.close()
            return right

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(use).result()
    assert fake.live() == {"retains of the primary context": 1}


@pytest.mark.parametrize(
    ("function", "call"),
    [
        (
            "cuMemcpyHtoDAsync",
            lambda memory, its: memory.copy_to_device(its.device, its.source, 8, its.stream),
        ),
        (
            "cuMemcpyDtoHAsync",
            lambda memory, its: memory.copy_to_host(its.target, its.device, 8, its.stream),
        ),
        ("cuStreamSynchronize", lambda memory, its: memory.synchronize(its.stream)),
        ("cuStreamCreate", lambda memory, its: memory.create_stream()),
        ("cuMemAlloc", lambda memory, its: memory.allocate(8)),
        ("cuMemHostAlloc", lambda memory, its: memory.allocate_pinned(8)),
    ],
)
def test_every_failing_call_is_named_and_leaves_nothing(memory, fake, function, call) -> None:
    with memory.current(), buffers(memory) as its:
        fake.fail_next(function, 400)
        with pytest.raises(EngineError, match=f"{function}.*invalid"):
            call(memory, its)


def test_a_kernel_that_fails_surfaces_at_the_wait_and_close_still_works(memory, fake) -> None:
    def fault() -> None:
        raise ArithmeticError

    with memory.current():
        stream = memory.create_stream()
        assert fake.launch_kernel(stream, fault) == 0
        with pytest.raises(EngineError, match=r"cuStreamSynchronize.*launch fail"):
            memory.synchronize(stream)
    memory.close()
    assert len(fake.kernel_errors) == 1
    fake.forget()


@pytest.mark.parametrize("memory_name", ["pycuda"], indirect=True)
def test_pycuda_has_no_graphs_and_says_what_has(memory) -> None:
    for call in (memory.begin_capture, memory.end_capture, memory.destroy_graph):
        with pytest.raises(EngineError, match="no CUDA graphs; install cuda-bindings"):
            call(0)
    with pytest.raises(EngineError, match="no CUDA graphs"):
        memory.launch(None, 0)

"""Mistakes in the use of CudaMemory, planted: the fake driver catches each of them."""

from __future__ import annotations

import numpy as np
import pytest
from fake_cuda.buffers import BYTES, buffers, random_bytes

from motivnet.errors import EngineError


def test_planted_a_dropped_synchronisation_gives_wrong_data(memory) -> None:
    content = random_bytes()
    with memory.current(), buffers(memory) as its:
        its.source[:] = content
        for _ in range(2):  # the second time, the right result of the first must not be seen either
            memory.copy_to_device(its.device, its.source, BYTES, its.stream)
            memory.copy_to_host(its.target, its.device, BYTES, its.stream)
            assert not np.array_equal(its.target, content)
            memory.synchronize(its.stream)
            assert np.array_equal(its.target, content)


def test_planted_a_source_written_before_the_wait_gives_wrong_data(memory) -> None:
    with memory.current(), buffers(memory) as its:
        its.source[:] = 1
        memory.copy_to_device(its.device, its.source, BYTES, its.stream)
        its.source[:] = 2
        memory.copy_to_host(its.target, its.device, BYTES, its.stream)
        memory.synchronize(its.stream)
        assert set(its.target) == {2}


def pending_copy(memory, *, to_host: bool = False):
    """Return a stream, device memory and pinned memory, with a copy queued."""
    stream, device, pinned = memory.create_stream(), memory.allocate(64), memory.allocate_pinned(64)
    if to_host:
        memory.copy_to_host(pinned, device, 64, stream)
    else:
        memory.copy_to_device(device, pinned, 64, stream)
    return stream, device, pinned


def test_planted_device_memory_freed_early_is_a_violation(memory, fake) -> None:
    with memory.current():
        stream, device, source = pending_copy(memory)
        memory.free(device)
        assert fake.take_violations() == [
            "cuMemFree of memory that a queued cuMemcpyHtoDAsync still needs"
        ]
        memory.synchronize(stream)
        memory.free_pinned(source)
        memory.destroy_stream(stream)


def test_planted_pinned_memory_freed_early_is_a_violation(memory, fake) -> None:
    with memory.current():
        stream, device, target = pending_copy(memory, to_host=True)
        memory.free_pinned(target)
        assert fake.take_violations() == [
            "cuMemFreeHost of memory that a queued cuMemcpyDtoHAsync still needs"
        ]
        memory.synchronize(stream)
        memory.free(device)
        memory.destroy_stream(stream)


def test_planted_a_stream_destroyed_with_work_in_it_is_a_violation(memory, fake) -> None:
    with memory.current():
        stream, device, source = pending_copy(memory)
        memory.destroy_stream(stream)
        assert fake.take_violations() == ["a stream is destroyed with 1 operations queued"]
        memory.free(device)
        memory.free_pinned(source)


def test_planted_a_context_not_popped_shows_in_the_stack(memory, fake) -> None:
    block = memory.current()
    block.__enter__()
    assert fake.context_stack_depth() == 1
    assert fake.live()["contexts not popped"] == 1
    with pytest.raises(AssertionError):
        fake.assert_clean()
    block.__exit__(None, None, None)


def test_planted_a_memory_not_closed_shows_in_the_retains(memory, fake) -> None:
    assert fake.live() == {"retains of the primary context": 1}
    with pytest.raises(AssertionError):
        fake.assert_clean()


def test_planted_a_buffer_left_behind_shows_at_close(memory, fake) -> None:
    with memory.current():
        memory.allocate(64)
        memory.allocate_pinned(64)
    memory.close()
    (text,) = fake.take_violations()
    assert text.startswith("the primary context was released with 1 device allocations, 1 pinned")
    fake.forget()


def test_planted_freeing_twice_is_an_error(memory, fake) -> None:
    with memory.current():
        address = memory.allocate(64)
        memory.free(address)
        with pytest.raises(EngineError):
            memory.free(address)
    assert all("freed already" in text for text in fake.take_violations())

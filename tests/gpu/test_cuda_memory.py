"""CUDA memory on a real driver: copies, graphs, freeing, and the context that it shares."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from motivnet.errors import EngineError, MotivNetError, RuntimeUnavailableError
from motivnet_engines.runtimes.tensorrt.cuda import open_memory
from motivnet_engines.runtimes.tensorrt.cuda.base import CudaMemory, MemoryName
from motivnet_engines.system.nvidia import Gpu

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("gpu")]

BINDINGS: tuple[MemoryName, ...] = ("cuda-bindings", "pycuda")
SIZE = 1 << 20


@pytest.fixture(params=BINDINGS)
def memory(request: pytest.FixtureRequest) -> Iterator[CudaMemory]:
    opened = _opened(request.param)
    try:
        yield opened
    finally:
        opened.close()


def _opened(name: MemoryName) -> CudaMemory:
    try:
        return open_memory(name)
    except MotivNetError as error:
        pytest.skip(str(error))


def _round_trip(memory: CudaMemory, seed: int) -> bool:
    """Whether random bytes come back from the device as they went there."""
    with memory.current():
        source, target = memory.allocate_pinned(SIZE), memory.allocate_pinned(SIZE)
        address, stream = memory.allocate(SIZE), memory.create_stream()
        try:
            source[:] = np.random.default_rng(seed).integers(0, 256, SIZE, dtype=np.uint8)
            target[:] = 0
            memory.copy_to_device(address, source, SIZE, stream)
            memory.copy_to_host(target, address, SIZE, stream)
            memory.synchronize(stream)
            return bool(np.array_equal(source, target))
        finally:
            memory.destroy_stream(stream)
            memory.free(address)
            memory.free_pinned(source)
            memory.free_pinned(target)


def test_the_device_is_the_one_that_the_driver_shows(memory: CudaMemory, gpu: Gpu) -> None:
    with memory.current():
        device = memory.device()
    assert (device.name, device.compute_capability, device.memory) == (
        gpu.name,
        gpu.compute_capability,
        gpu.memory,
    )


def test_the_driver_shows_what_pytorch_sees(gpu: Gpu) -> None:
    seen = torch.cuda.get_device_properties(0)
    assert (gpu.name, gpu.compute_capability) == (seen.name, f"{seen.major}.{seen.minor}")
    assert gpu.memory == seen.total_memory


def test_bytes_come_back_as_they_went(memory: CudaMemory) -> None:
    assert _round_trip(memory, seed=0)


def test_every_thread_can_use_the_context(memory: CudaMemory) -> None:
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(lambda seed: _round_trip(memory, seed), range(64)))


def test_a_graph_repeats_its_copies_with_what_lies_there_now(memory: CudaMemory) -> None:
    if not memory.captures_graphs:
        pytest.skip(f"{memory.name} captures no graphs")
    with memory.current():
        source, target = memory.allocate_pinned(SIZE), memory.allocate_pinned(SIZE)
        address, stream = memory.allocate(SIZE), memory.create_stream()
        target[:] = 0
        memory.begin_capture(stream)
        memory.copy_to_device(address, source, SIZE, stream)
        memory.copy_to_host(target, address, SIZE, stream)
        graph = memory.end_capture(stream)
        memory.synchronize(stream)
        assert not target.any()  # recorded, and not run
        for value in (7, 9):
            source[:] = value
            memory.launch(graph, stream)
            memory.synchronize(stream)
            assert (target == value).all()
        memory.destroy_graph(graph)
        memory.destroy_stream(stream)
        memory.free(address)
        memory.free_pinned(source)
        memory.free_pinned(target)


def test_a_capture_that_is_broken_off_leaves_the_stream_usable(memory: CudaMemory) -> None:
    if not memory.captures_graphs:
        pytest.skip(f"{memory.name} captures no graphs")
    with memory.current():
        stream = memory.create_stream()
        memory.begin_capture(stream)
        with pytest.raises(EngineError):
            memory.synchronize(stream)  # forbidden during a capture, which it invalidates
        with pytest.raises(EngineError):
            memory.end_capture(stream)
        memory.synchronize(stream)
        memory.destroy_stream(stream)
    assert _round_trip(memory, seed=1)


def test_more_than_the_gpu_has_is_refused_with_the_numbers(memory: CudaMemory, gpu: Gpu) -> None:
    with (
        memory.current(),
        pytest.raises(EngineError, match=rf"the GPU has no {2 * gpu.memory} bytes left \(\d+ of"),
    ):
        memory.allocate(2 * gpu.memory)
    assert _round_trip(memory, seed=2)


def test_a_wrong_address_is_an_error_with_the_drivers_words(memory: CudaMemory) -> None:
    with memory.current(), pytest.raises(EngineError, match="invalid argument"):
        memory.free(64)


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(RuntimeUnavailableError, match="there is no CUDA device 99; choose 0 to "):
        open_memory("cuda-bindings", device=99)


def test_pytorch_works_in_the_same_context_before_and_after(memory: CudaMemory) -> None:
    tensor = torch.arange(1000, device="cuda")
    assert _round_trip(memory, seed=3)
    with memory.current():
        inside = torch.arange(1000, device="cuda")
        assert torch.equal(tensor, inside)
    memory.close()
    assert int((tensor + 1).sum()) == 500_500


def test_a_closed_memory_says_so(memory: CudaMemory) -> None:
    memory.close()
    memory.close()
    with pytest.raises(EngineError, match="is closed"), memory.current():
        pass


def test_buffers_that_are_freed_take_no_memory(
    memory: CudaMemory, free_memory: Callable[[], int]
) -> None:
    for seed in range(10):
        _round_trip(memory, seed)
    gc.collect()
    before = free_memory()
    for seed in range(200):
        _round_trip(memory, seed)
    assert before - free_memory() <= 4 << 20

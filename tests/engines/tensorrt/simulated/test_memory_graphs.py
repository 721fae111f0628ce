"""CUDA graphs, which cuda.bindings alone has: captured and replayed on the fake driver."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pytest

from motivnet.errors import EngineError

pytestmark = pytest.mark.parametrize("memory_name", ["cuda-bindings"], indirect=True)


@pytest.fixture
def its(memory):
    """Device memory, a source, a target and a stream, in the context for the length of the test."""
    with memory.current(), ExitStack() as stack:
        stream = memory.create_stream()
        stack.callback(memory.destroy_stream, stream)
        device = memory.allocate(64)
        stack.callback(memory.free, device)
        source, target = memory.allocate_pinned(64), memory.allocate_pinned(64)
        stack.callback(memory.free_pinned, source)
        stack.callback(memory.free_pinned, target)
        yield device, source, target, stream


def captured(memory, its, fake=None):
    device, source, target, stream = its
    memory.begin_capture(stream)
    memory.copy_to_device(device, source, 64, stream)
    if fake is not None:

        def double() -> None:
            fake.device_array(device, (64,), np.uint8)[:] *= 2

        assert fake.launch_kernel(stream, double, touches=[(device, 64)]) == 0
    memory.copy_to_host(target, device, 64, stream)
    return memory.end_capture(stream)


def test_a_graph_repeats_what_was_captured_with_what_the_buffers_hold_then(
    memory, its, fake
) -> None:
    _, source, target, stream = its
    graph = captured(memory, its, fake)
    for value in (1, 2, 3):
        source[:] = value
        memory.launch(graph, stream)
        memory.synchronize(stream)
        assert set(target) == {2 * value}
    memory.destroy_graph(graph)


def test_capturing_runs_nothing(memory, its, fake) -> None:
    _, source, target, _ = its
    source[:] = 5
    target[:] = 1
    graph = captured(memory, its)
    assert fake.queued_operations() == 0
    assert set(target) == {1}
    memory.destroy_graph(graph)


def test_only_the_executable_graph_stays_and_only_until_it_is_destroyed(memory, its, fake) -> None:
    graph = captured(memory, its)
    assert fake.live_graphs() == 1
    memory.destroy_graph(graph)
    assert fake.live_graphs() == 0


def test_planted_a_replay_without_a_wait_gives_wrong_data(memory, its) -> None:
    _, source, target, stream = its
    graph = captured(memory, its)
    source[:] = 5
    memory.launch(graph, stream)
    assert set(target) != {5}
    memory.synchronize(stream)
    assert set(target) == {5}
    memory.destroy_graph(graph)


@pytest.mark.parametrize(
    "mistake",
    [
        lambda memory, stream: memory.synchronize(stream),
        lambda memory, stream: memory.allocate(16),
        lambda memory, stream: memory.allocate_pinned(16),
    ],
    ids=["synchronize", "allocate", "allocate_pinned"],
)
def test_planted_waiting_or_allocating_while_capturing_spoils_the_capture(
    memory, its, fake, mistake
) -> None:
    *_, stream = its
    memory.begin_capture(stream)
    with pytest.raises(EngineError, match="not permitted when stream is capturing"):
        mistake(memory, stream)
    with pytest.raises(EngineError, match="previous error during capture"):
        memory.end_capture(stream)
    assert fake.live_graphs() == 0
    graph = captured(memory, its)  # the stream can be used again
    memory.destroy_graph(graph)


def test_another_thread_allocates_while_this_one_captures(memory, its) -> None:
    """A context that is being made must not spoil the capture of another."""
    from concurrent.futures import ThreadPoolExecutor

    def allocate() -> None:
        with memory.current():
            memory.free(memory.allocate(16))

    *_, stream = its
    memory.begin_capture(stream)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(allocate).result()
    memory.destroy_graph(memory.end_capture(stream))


def test_a_graph_that_cannot_be_instantiated_leaves_nothing(memory, its, fake) -> None:
    fake.fail_next("cuGraphInstantiateWithFlags", 2)
    with pytest.raises(EngineError, match="cuGraphInstantiate: out of memory"):
        captured(memory, its)
    assert fake.live_graphs() == 0


def test_planted_a_graph_launched_after_its_buffer_was_freed_is_a_violation(
    memory, its, fake
) -> None:
    _, source, target, stream = its
    other = memory.allocate(64)
    graph = captured(memory, (other, source, target, stream))
    memory.free(other)
    with pytest.raises(EngineError, match="cuGraphLaunch: invalid argument"):
        memory.launch(graph, stream)
    assert fake.take_violations() == ["cuMemcpyHtoDAsync with freed device memory"]
    memory.destroy_graph(graph)


def test_planted_a_graph_left_behind_shows_at_close(memory, fake) -> None:
    with memory.current():
        stream = memory.create_stream()
        memory.begin_capture(stream)
        memory.end_capture(stream)
        memory.destroy_stream(stream)
    memory.close()
    (text,) = fake.take_violations()
    assert "and 1 graphs alive" in text
    fake.forget()

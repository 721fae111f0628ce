from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motivnet_engines.serving.request_queue import (
    LARGE_IMAGE,
    DrainingError,
    Entry,
    OverloadedError,
    RequestQueue,
    image_cost,
)

MEGAPIXEL = 1_000_000
LARGEST = 40 * MEGAPIXEL


def make_queue(**changes: Any) -> RequestQueue:
    options = {"capacity": 1000, "deadline": 10.0, "images": 2, "image_seconds": 0.01}
    return RequestQueue(**{**options, "threads": 1, "pixels": LARGEST, **changes})


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scenario())


async def fill(queue: RequestQueue, inside: contextlib.AsyncExitStack, *, cost: float) -> int:
    """Return how many requests of this cost there is room for, all of which are inside then."""
    count = 0
    with contextlib.suppress(OverloadedError):
        while True:
            entry = await inside.enter_async_context(queue.enter())
            entry.reserve(cost)
            count += 1
    return count


def test_no_more_requests_than_the_capacity_are_inside() -> None:
    async def scenario() -> None:
        queue = make_queue(capacity=2)
        async with queue.enter(), queue.enter():
            with pytest.raises(OverloadedError):
                queue.check()
        queue.check()

    run(scenario)


def test_a_request_leaves_the_queue_after_an_error() -> None:
    async def scenario() -> None:
        queue = make_queue(capacity=1)
        with pytest.raises(KeyError):
            async with queue.enter():
                raise KeyError
        queue.check()

    run(scenario)


@pytest.mark.parametrize(("cost", "room"), [(0.1, 5), (0.05, 10), (0.5, 1), (2.0, 1)])
def test_no_more_work_is_accepted_than_half_of_the_deadline_has_time_for(
    cost: float, room: int
) -> None:
    async def scenario() -> None:
        queue = make_queue(deadline=1.0)
        async with contextlib.AsyncExitStack() as inside:
            assert await fill(queue, inside, cost=cost) == room

    run(scenario)


def test_requests_are_refused_before_their_bodies_are_read() -> None:
    async def scenario() -> None:
        queue = make_queue(deadline=1.0, image_seconds=0.1)
        async with contextlib.AsyncExitStack() as inside:
            for _ in range(5):
                await inside.enter_async_context(queue.enter())
            with pytest.raises(OverloadedError):
                queue.check()

    run(scenario)


def test_a_refusal_tells_how_long_the_wait_would_be() -> None:
    async def scenario() -> None:
        queue = make_queue(deadline=4.0)
        async with queue.enter() as first, queue.enter() as second:
            first.reserve(1.5)
            with pytest.raises(OverloadedError) as refused:
                second.reserve(1.5)
        assert refused.value.seconds == 3.0

    run(scenario)


def test_an_image_that_is_done_makes_room_before_its_request_is() -> None:
    async def scenario() -> None:
        queue = make_queue(deadline=1.0)
        async with queue.enter() as entry, queue.enter() as other:
            entry.reserve(0.4)
            with pytest.raises(OverloadedError):
                other.reserve(0.4)
            entry.cost -= 0.3
            other.reserve(0.4)

    run(scenario)


def test_a_heavy_request_keeps_out_another_heavy_one_and_no_light_one() -> None:
    async def scenario() -> None:
        queue = make_queue(deadline=1.0)
        async with queue.enter() as heavy, contextlib.AsyncExitStack() as inside:
            heavy.reserve(2.0)
            async with queue.enter() as second:
                with pytest.raises(OverloadedError):
                    second.reserve(2.0)
            assert await fill(queue, inside, cost=0.05) == 9

    run(scenario)


def test_images_in_work_are_in_front_of_a_light_request_too() -> None:
    async def scenario() -> None:
        queue = make_queue(deadline=1.0, images=80)
        async with queue.enter() as heavy:
            heavy.reserve(2.0)
            with pytest.raises(OverloadedError):
                queue.check()

    run(scenario)


def test_a_request_alone_is_accepted_whatever_it_costs() -> None:
    async def scenario() -> None:
        async with make_queue(deadline=0.001).enter() as entry:
            entry.reserve(100.0)

    run(scenario)


def test_draining_refuses_new_requests_and_waits_for_those_inside() -> None:
    async def scenario() -> None:
        queue, end = make_queue(), asyncio.Event()

        async def request() -> None:
            async with queue.enter() as entry:
                await end.wait()
                entry.reserve(3.0)  # whoever is inside stays, whatever it turns out to cost

        requests = [asyncio.create_task(request()) for _ in range(2)]
        await asyncio.sleep(0)
        drained = asyncio.create_task(queue.drain(grace=60.0, hurry=asyncio.Event()))
        await asyncio.sleep(0)
        with pytest.raises(DrainingError):
            queue.check()
        assert not drained.done()
        end.set()
        assert await drained == 0
        await asyncio.gather(*requests)

    run(scenario)


@pytest.mark.parametrize("grace", [0.0, 60.0])
def test_what_is_left_at_the_end_of_the_grace_period_is_told_so_and_counted(grace: float) -> None:
    async def scenario() -> None:
        queue, hurry = make_queue(), asyncio.Event()

        async def request() -> None:
            async with queue.enter():
                await asyncio.Event().wait()

        requests = [asyncio.create_task(request()) for _ in range(2)]
        await asyncio.sleep(0)
        if grace:
            hurry.set()
        assert await queue.drain(grace=grace, hurry=hurry) == 2
        for error in await asyncio.gather(*requests, return_exceptions=True):
            assert isinstance(error, DrainingError)
        assert queue.size == 0

    run(scenario)


class Desk:
    """Turns whose images stay in work until they are told to end; ``begun`` has their names."""

    def __init__(self, **changes: Any) -> None:
        self.queue = make_queue(**changes)
        self.begun: list[str] = []
        self.most = 0
        self._ends: dict[str, Future[None]] = {}
        self._pixels: dict[str, int] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def request(self) -> Entry:
        return Entry(queue=self.queue)

    async def ask(self, entry: Entry, pixels: int, *names: str) -> None:
        for name in names:
            self._tasks[name] = asyncio.create_task(self._work(entry, pixels, name))
            await asyncio.sleep(0)

    async def _work(self, entry: Entry, pixels: int, name: str) -> None:
        async with self.queue.slot(entry, pixels=pixels, cost=image_cost(pixels, 0.04)) as slot:
            self.begun.append(name)
            self._ends[name], self._pixels[name] = Future(), pixels
            running = [other for other, end in self._ends.items() if not end.done()]
            self.most = max(self.most, sum(self._pixels[other] for other in running))
            self._ends[name].set_running_or_notify_cancel()
            slot.runs(self._ends[name])
            await asyncio.wrap_future(self._ends[name])

    async def end(self, name: str) -> None:
        self._ends[name].set_result(None)
        await asyncio.wait([self._tasks[name]])
        for _ in range(3):  # the slots that this grants begin
            await asyncio.sleep(0)

    async def end_all(self) -> list[str]:
        """End the images in the order in which they began, which is returned."""
        for place in range(len(self._tasks)):
            await self.end(self.begun[place])
        return self.begun

    async def cancel(self, name: str) -> None:
        self._tasks[name].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._tasks[name]


def test_many_large_images_of_one_request_let_a_small_one_of_another_pass() -> None:
    async def scenario() -> None:
        desk = Desk()
        await desk.ask(desk.request(), LARGEST, *(f"large {number}" for number in range(8)))
        await desk.ask(desk.request(), MEGAPIXEL, "small")
        assert (await desk.end_all())[:3] == ["large 0", "small", "large 1"]

    run(scenario)


def test_requests_of_the_same_cost_advance_alike() -> None:
    async def scenario() -> None:
        desk = Desk()
        await desk.ask(desk.request(), MEGAPIXEL, "a0", "a1", "a2")
        await desk.ask(desk.request(), MEGAPIXEL, "b0", "b1", "b2")
        assert await desk.end_all() == ["a0", "a1", "b0", "a2", "b1", "b2"]

    run(scenario)


def test_a_large_image_does_not_wait_for_ever_for_small_ones_that_come_later() -> None:
    async def scenario() -> None:
        desk = Desk()
        await desk.ask(desk.request(), MEGAPIXEL, "first")
        await desk.ask(desk.request(), LARGEST, "large")
        for number in range(30):
            await desk.ask(desk.request(), MEGAPIXEL, f"small {number}")
            await desk.end(desk.begun[-1])
        assert "large" in desk.begun[:15]

    run(scenario)


def test_an_ordinary_image_passes_a_large_one_that_waits_for_room() -> None:
    async def scenario() -> None:
        desk = Desk(threads=3, images=8)
        await desk.ask(desk.request(), LARGEST, "large")
        await desk.ask(desk.request(), 12 * MEGAPIXEL, "photo")
        await desk.ask(desk.request(), MEGAPIXEL, "small")
        assert desk.begun == ["large", "small"]
        assert await desk.end_all() == ["large", "small", "photo"]

    run(scenario)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 50)), min_size=1, max_size=25),
    st.integers(1, 4),
)
def test_there_is_never_more_in_work_than_there_is_room_for_and_all_have_their_slot(
    images: list[tuple[int, int]], threads: int
) -> None:
    async def scenario() -> None:
        desk = Desk(threads=threads, images=threads + 1)
        entries = [desk.request() for _ in range(4)]
        for number, (entry, megapixels) in enumerate(images):
            await desk.ask(entries[entry], megapixels * MEGAPIXEL, str(number))
        assert len(desk.begun) <= threads
        assert len(await desk.end_all()) == len(images)
        largest = max([LARGEST, *(megapixels * MEGAPIXEL for _, megapixels in images)])
        assert desk.most <= largest + threads * LARGE_IMAGE

    run(scenario)


@pytest.mark.parametrize("gone", ["waiting", "large"])
def test_the_room_of_an_abandoned_image_is_given_back_when_its_thread_ends(gone: str) -> None:
    async def scenario() -> None:
        desk = Desk(images=3)
        for name in ("large", "waiting", "last"):
            await desk.ask(desk.request(), LARGEST, name)
        await desk.cancel(gone)
        assert desk.begun == ["large"]
        await desk.end("large")
        assert desk.begun == ["large", "waiting" if gone == "large" else "last"]

    run(scenario)


def test_a_slot_whose_preparation_never_began_gives_everything_back() -> None:
    async def scenario() -> None:
        queue = make_queue(images=1)
        for _ in range(3):
            with contextlib.suppress(RuntimeError):
                async with queue.slot(Entry(queue=queue), pixels=LARGEST, cost=1.0):
                    raise RuntimeError("the threads are shut down")

    run(scenario)


def test_an_image_costs_its_decoding_and_the_model() -> None:
    assert image_cost(0, 0.0) > 0
    assert image_cost(1000, 0.5) == pytest.approx(0.5, rel=1e-3)
    assert image_cost(LARGEST, 0.02) > 10 * image_cost(MEGAPIXEL, 0.02)

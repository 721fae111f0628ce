from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motivnet_engines.serving.turns import Share, Turns, weight_of

MEGAPIXEL = 1_000_000
LARGEST = 40 * MEGAPIXEL


class Desk:
    """Turns whose images stay in work until they are told to end; ``begun`` has their names in order."""

    def __init__(self, **room: int) -> None:
        self.turns = Turns(**{"images": 2, "threads": 1, "pixels": LARGEST, **room})
        self.begun: list[str] = []
        self.most = 0
        self._ends: dict[str, Future[None]] = {}
        self._pixels: dict[str, int] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def ask(self, share: Share, pixels: int, *names: str) -> None:
        for name in names:
            self._tasks[name] = asyncio.create_task(self._work(share, pixels, name))
            await asyncio.sleep(0)

    async def _work(self, share: Share, pixels: int, name: str) -> None:
        async with self.turns.turn(share, pixels=pixels) as turn:
            self.begun.append(name)
            self._ends[name], self._pixels[name] = Future(), pixels
            self.most = max(
                self.most,
                sum(self._pixels[other] for other in self._ends if not self._ends[other].done()),
            )
            self._ends[name].set_running_or_notify_cancel()
            turn.runs(self._ends[name])
            await asyncio.wrap_future(self._ends[name])

    async def end(self, name: str) -> None:
        self._ends[name].set_result(None)
        await asyncio.wait([self._tasks[name]])
        await asyncio.sleep(0.001)

    async def end_all(self) -> list[str]:
        """Ends one after another as they began; in which order that was."""
        for place in range(len(self._tasks)):
            await self.end(self.begun[place])
        return self.begun

    async def cancel(self, name: str) -> None:
        self._tasks[name].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._tasks[name]


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scenario())


def test_many_large_images_of_one_request_let_a_small_one_of_another_pass() -> None:
    async def scenario() -> None:
        desk, greedy = Desk(), Share()
        await desk.ask(greedy, LARGEST, *(f"large {number}" for number in range(8)))
        await desk.ask(Share(), MEGAPIXEL, "small")
        assert (await desk.end_all())[:3] == ["large 0", "small", "large 1"]

    run(scenario)


def test_requests_of_the_same_cost_advance_alike() -> None:
    async def scenario() -> None:
        desk, first, second = Desk(), Share(), Share()
        await desk.ask(first, MEGAPIXEL, "a0", "a1", "a2")
        await desk.ask(second, MEGAPIXEL, "b0", "b1", "b2")
        assert await desk.end_all() == ["a0", "a1", "b0", "a2", "b1", "b2"]

    run(scenario)


def test_a_large_image_is_not_kept_waiting_for_ever_by_small_ones_that_come_later() -> None:
    async def scenario() -> None:
        desk = Desk()
        await desk.ask(Share(), MEGAPIXEL, "first")
        await desk.ask(Share(), LARGEST, "large")
        for number in range(30):
            await desk.ask(Share(), MEGAPIXEL, f"small {number}")
            await desk.end(desk.begun[-1])
        assert "large" in desk.begun[: weight_of(LARGEST) + 2]

    run(scenario)


def test_an_ordinary_image_passes_a_large_one_that_waits_for_room() -> None:
    async def scenario() -> None:
        desk = Desk(threads=3, images=8)
        await desk.ask(Share(), LARGEST, "large")
        await desk.ask(Share(), 12 * MEGAPIXEL, "photo")
        await desk.ask(Share(), MEGAPIXEL, "small")
        assert desk.begun == ["large", "small"]
        assert await desk.end_all() == ["large", "small", "photo"]

    run(scenario)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 50)), min_size=1, max_size=25),
    st.integers(1, 4),
)
def test_there_is_never_more_in_work_than_there_is_room_for_and_all_have_their_turn(
    images: list[tuple[int, int]], threads: int
) -> None:
    async def scenario() -> None:
        desk, shares = Desk(threads=threads, images=threads + 1), [Share() for _ in range(4)]
        for number, (share, megapixels) in enumerate(images):
            await desk.ask(shares[share], megapixels * MEGAPIXEL, str(number))
        assert len(desk.begun) <= threads
        assert len(await desk.end_all()) == len(images)
        largest = max([LARGEST, *(megapixels * MEGAPIXEL for _, megapixels in images)])
        assert desk.most <= largest + threads * 4 * MEGAPIXEL

    run(scenario)


@pytest.mark.parametrize("gone", ["waiting", "large"])
def test_the_room_of_an_image_that_nobody_waits_for_is_given_back_when_its_thread_ends(
    gone: str,
) -> None:
    async def scenario() -> None:
        desk = Desk(images=3)
        await desk.ask(Share(), LARGEST, "large")
        await desk.ask(Share(), LARGEST, "waiting")
        await desk.ask(Share(), LARGEST, "last")
        await desk.cancel(gone)
        assert desk.begun == ["large"]
        await desk.end("large")
        assert desk.begun == ["large", "waiting" if gone == "large" else "last"]

    run(scenario)


def test_a_turn_whose_preparation_never_began_gives_everything_back() -> None:
    async def scenario() -> None:
        turns = Turns(images=1, threads=1, pixels=LARGEST)
        for _ in range(3):
            with contextlib.suppress(RuntimeError):
                async with turns.turn(Share(), pixels=LARGEST):
                    raise RuntimeError("the threads are shut down")

    run(scenario)


@pytest.mark.parametrize(
    ("pixels", "weight"), [(0, 1), (3_999_999, 1), (12_000_000, 4), (40_000_000, 11)]
)
def test_an_image_weighs_what_its_header_declares(pixels: int, weight: int) -> None:
    assert weight_of(pixels) == weight

from __future__ import annotations

import asyncio
import time

import pytest

from motivnet_engines.serving.arrivals import Arrivals, Body
from motivnet_engines.serving.refusals import RefusedError


async def stalled(arrivals: Arrivals, size: int) -> None:
    """A body of which so many bytes come and then nothing."""
    with arrivals.body() as body:
        async with arrivals.reading(body, seconds=5):
            arrivals.add(body, size)
            await asyncio.sleep(5)


def received(arrivals: Arrivals, body: Body, size: int) -> str:
    try:
        arrivals.add(body, size)
    except RefusedError as refusal:
        return refusal.code
    return ""


def test_only_bytes_that_came_take_room() -> None:
    arrivals = Arrivals(100)
    with arrivals.body() as first, arrivals.body() as second:
        assert received(arrivals, first, 60) == ""
        assert received(arrivals, second, 41) == "overloaded"
        assert received(arrivals, second, 40) == ""
    with arrivals.body() as third:
        assert received(arrivals, third, 100) == ""


def test_the_largest_unfinished_body_gives_way_to_a_smaller_one() -> None:
    async def crowded() -> None:
        arrivals = Arrivals(100)
        large, small = (asyncio.create_task(stalled(arrivals, size)) for size in (70, 20))
        await asyncio.sleep(0.01)
        with arrivals.body() as honest:
            assert received(arrivals, honest, 30) == ""
            with pytest.raises(RefusedError) as refused:
                await large
            assert (refused.value.code, small.done()) == ("overloaded", False)
            assert received(arrivals, honest, 50) == ""
            assert received(arrivals, honest, 30) == "overloaded"  # by now it is itself the largest
        small.cancel()

    asyncio.run(crowded())


def test_a_body_that_has_arrived_does_not_give_way() -> None:
    async def crowded() -> None:
        arrivals = Arrivals(100)
        with arrivals.body() as whole, arrivals.body() as honest:
            async with arrivals.reading(whole, seconds=5):
                arrivals.add(whole, 90)
            assert received(arrivals, honest, 20) == "overloaded"
            assert whole.size == 90

    asyncio.run(crowded())


def test_what_gave_way_leaves_its_room_once() -> None:
    async def crowded() -> None:
        arrivals = Arrivals(100)
        large = asyncio.create_task(stalled(arrivals, 90))
        await asyncio.sleep(0.01)
        with arrivals.body() as honest:
            assert received(arrivals, honest, 20) == ""
            await asyncio.gather(large, return_exceptions=True)
        with arrivals.body() as next_one:
            assert received(arrivals, next_one, 100) == ""
            assert received(arrivals, next_one, 1) == "overloaded"

    asyncio.run(crowded())


def test_a_body_that_does_not_come_is_too_slow() -> None:
    async def read() -> None:
        arrivals = Arrivals(100)
        with arrivals.body() as body:
            async with arrivals.reading(body, seconds=0.02):
                await asyncio.sleep(5)

    with pytest.raises(RefusedError) as refused:
        asyncio.run(read())
    assert (refused.value.code, refused.value.status) == ("too_slow", 408)


def test_stopping_refuses_who_has_not_sent_everything() -> None:
    async def stopped() -> float:
        arrivals = Arrivals(100)
        reader = asyncio.create_task(stalled(arrivals, 1))
        await asyncio.sleep(0.01)
        start = time.monotonic()
        arrivals.stop(RefusedError("draining", "it ends"))
        with pytest.raises(RefusedError, match="it ends"):
            await reader
        return time.monotonic() - start

    assert asyncio.run(stopped()) < 1

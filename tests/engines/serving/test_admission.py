from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from motivnet_engines.serving.admission import Admission
from motivnet_engines.serving.refusals import RefusedError


def admission(*, capacity: int = 2, deadline: float = 10.0, max_waiting_bytes: int = 100) -> Admission:
    return Admission(capacity=capacity, deadline=deadline, max_waiting_bytes=max_waiting_bytes)


def test_no_more_than_the_capacity_are_inside() -> None:
    gate = admission()
    with gate.place(), gate.place():
        with pytest.raises(RefusedError) as refused:
            gate.check()
        assert (refused.value.code, refused.value.status) == ("overloaded", 503)
        assert int(refused.value.headers["Retry-After"]) >= 1
    gate.check()


def test_a_place_is_given_back_after_an_error() -> None:
    gate = admission(capacity=1)
    with pytest.raises(KeyError), gate.place():
        raise KeyError
    gate.check()


def test_who_would_wait_longer_than_the_deadline_is_refused_although_there_is_a_place() -> None:
    gate = admission(capacity=1000, deadline=0.05)
    for _ in range(30):
        with gate.place():
            time.sleep(0.01)
    with contextlib.ExitStack() as inside:
        with contextlib.suppress(RefusedError):
            while True:
                inside.enter_context(gate.place())
        assert 1 <= gate.inside <= 4
    gate.check()


def test_bodies_beyond_the_memory_for_them_are_refused() -> None:
    gate = admission(max_waiting_bytes=100)
    with gate.held(60):
        with pytest.raises(RefusedError, match="waiting"), gate.held(41):
            pass
        with gate.held(40):
            pass
    with gate.held(100):
        pass


def test_a_body_that_does_not_come_is_too_slow() -> None:
    async def read() -> None:
        async with admission().reading(0.02):
            await asyncio.sleep(5)

    with pytest.raises(RefusedError) as refused:
        asyncio.run(read())
    assert (refused.value.code, refused.value.status) == ("too_slow", 408)


def test_draining_refuses_who_comes_and_who_has_not_sent_everything() -> None:
    gate = admission()

    async def drained() -> float:
        async def read() -> None:
            async with gate.reading(5):
                await asyncio.sleep(5)

        reader = asyncio.create_task(read())
        await asyncio.sleep(0.01)
        start = time.monotonic()
        gate.drain()
        with pytest.raises(RefusedError) as refused:
            await reader
        assert refused.value.code == "draining"
        return time.monotonic() - start

    assert asyncio.run(drained()) < 1
    with pytest.raises(RefusedError) as refused:
        gate.check()
    assert refused.value.code == "draining"


def test_draining_waits_for_those_inside() -> None:
    gate = admission()
    left: list[int] = []

    async def inside(seconds: float) -> None:
        with gate.place():
            await asyncio.sleep(seconds)
            left.append(1)

    async def drained() -> None:
        tasks = [asyncio.create_task(inside(0.02)), asyncio.create_task(inside(0.05))]
        await asyncio.sleep(0.01)
        gate.drain()
        await gate.until_idle()
        assert len(left) == 2
        await asyncio.gather(*tasks)

    asyncio.run(drained())

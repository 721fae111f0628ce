from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from types import SimpleNamespace

import pytest

from motivnet_engines.serving.admission import Admission
from motivnet_engines.serving.refusals import RefusedError


def admission(*, capacity: int = 2, deadline: float = 10.0) -> Admission:
    return Admission(capacity=capacity, deadline=deadline, max_waiting_bytes=100)


async def answer(gate: Admission, *, images: int = 1, seconds: float = 0.01) -> None:
    async with gate.place() as place:
        place.weigh(images)
        for _ in range(images):
            await asyncio.sleep(seconds)
            place.finish_image(classified=True)


async def filled(gate: Admission, inside: contextlib.AsyncExitStack, *, images: int = 1) -> int:
    """How many requests there are room for."""
    count = 0
    with contextlib.suppress(RefusedError):
        while True:
            place = await inside.enter_async_context(gate.place())
            place.weigh(images)
            count += 1
    return count


def test_no_more_than_the_capacity_are_inside() -> None:
    async def fill() -> None:
        gate = admission()
        async with gate.place(), gate.place():
            with pytest.raises(RefusedError) as refused:
                gate.check()
            assert (refused.value.code, refused.value.status) == ("overloaded", 503)
            assert int(refused.value.headers["Retry-After"]) >= 1
        gate.check()

    asyncio.run(fill())


def test_a_place_is_given_back_after_an_error() -> None:
    async def fail() -> None:
        gate = admission(capacity=1)
        with pytest.raises(KeyError):
            async with gate.place():
                raise KeyError
        gate.check()

    asyncio.run(fail())


def test_who_would_wait_longer_than_the_deadline_is_refused_although_there_is_a_place() -> None:
    async def fill() -> None:
        gate = admission(capacity=1000, deadline=0.2)
        for _ in range(30):
            await answer(gate)
        async with contextlib.AsyncExitStack() as inside:
            assert 2 <= await filled(gate, inside) <= 10
        gate.check()

    asyncio.run(fill())


def test_a_request_weighs_as_much_as_its_images() -> None:
    async def fill() -> None:
        gate = admission(capacity=1000, deadline=1.0)
        for _ in range(10):
            await answer(gate, images=3)
        async with contextlib.AsyncExitStack() as inside:
            singles = await filled(gate, inside)
        async with contextlib.AsyncExitStack() as inside:
            forms = await filled(gate, inside, images=8)
        assert 1 <= forms <= singles / 5

    asyncio.run(fill())


def test_an_image_that_is_done_makes_room_before_its_request_is() -> None:
    async def fill() -> None:
        gate = admission(capacity=1000, deadline=0.2)
        await answer(gate, images=8)
        async with gate.place() as place:
            place.weigh(20)
            async with gate.place() as other:
                with pytest.raises(RefusedError):
                    other.weigh(20)
                for _ in range(18):
                    place.finish_image(classified=False)
                other.weigh(5)

    asyncio.run(fill())


def test_a_heavy_request_keeps_out_another_heavy_one_and_no_light_one() -> None:
    async def fill() -> None:
        gate = admission(capacity=1000, deadline=1.0)
        for _ in range(10):
            await answer(gate)
        async with gate.place() as heavy, contextlib.AsyncExitStack() as inside:
            heavy.weigh(88)
            with pytest.raises(RefusedError):
                (await inside.enter_async_context(gate.place())).weigh(88)
            assert await filled(gate, inside) >= 10

    asyncio.run(fill())


def test_what_nobody_passes_any_more_is_before_a_light_request_too() -> None:
    async def fill() -> None:
        gate = Admission(capacity=1000, deadline=1.0, max_waiting_bytes=100, in_work=80)
        for _ in range(10):
            await answer(gate)
        async with gate.place() as heavy:
            heavy.weigh(88)
            with pytest.raises(RefusedError):
                gate.check()

    asyncio.run(fill())


def test_images_that_weigh_more_teach_the_same_pace() -> None:
    async def fill() -> None:
        gate, heavy = admission(), admission()
        for _ in range(10):
            await answer(gate, seconds=0.01)
            async with heavy.place() as place:
                place.weigh(10)
                await asyncio.sleep(0.1)
                place.finish_image(10, classified=True)
        assert heavy.pace.seconds == pytest.approx(gate.pace.seconds, rel=0.5)

    asyncio.run(fill())


def test_a_request_alone_is_let_in_whatever_is_expected() -> None:
    async def fill() -> None:
        gate = admission(deadline=0.001)
        await answer(gate, seconds=0.02)
        await answer(gate, images=8)

    asyncio.run(fill())


@pytest.mark.parametrize("end", [asyncio.CancelledError(), RefusedError("late", "late")])
def test_requests_that_were_given_up_teach_how_slow_it_is(
    end: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(step=0.001)  # a millisecond passes from one look at it to the next
    late = [0.0]
    now = SimpleNamespace(monotonic=lambda: next(clock) + late[0])
    monkeypatch.setattr("motivnet_engines.serving.admission.time", now)

    async def give_up() -> None:
        gate = admission(capacity=1000, deadline=0.1)
        await answer(gate, seconds=0)
        async with contextlib.AsyncExitStack() as inside:
            before = await filled(gate, inside)
        for _ in range(30):
            with contextlib.suppress(type(end)):
                async with gate.place():
                    late[0] += 0.03
                    raise end
        async with contextlib.AsyncExitStack() as inside:
            assert await filled(gate, inside) < before / 3

    asyncio.run(give_up())


def test_an_early_end_says_nothing_of_the_pace() -> None:
    async def give_up() -> None:
        gate = admission()
        await answer(gate, seconds=0.02)
        before = gate.pace.seconds
        for _ in range(30):
            with contextlib.suppress(KeyError):
                async with gate.place():
                    raise KeyError
        assert gate.pace.seconds == before

    asyncio.run(give_up())


def test_draining_refuses_who_comes_and_waits_for_those_inside() -> None:
    gate = admission()
    left: list[int] = []

    async def inside(seconds: float) -> None:
        async with gate.place() as place:
            await asyncio.sleep(seconds)
            place.weigh(3)  # whoever is inside stays, however many images it turns out to have
            left.append(1)

    async def drained() -> None:
        tasks = [asyncio.create_task(inside(0.02)), asyncio.create_task(inside(0.05))]
        await asyncio.sleep(0.01)
        gate.drain()
        with pytest.raises(RefusedError) as refused:
            gate.check()
        assert refused.value.code == "draining"
        await gate.until_idle()
        assert len(left) == 2
        await asyncio.gather(*tasks)

    asyncio.run(drained())


def test_those_that_are_given_up_are_told_that_the_service_ends() -> None:
    gate = admission()

    async def inside() -> None:
        async with gate.place():
            await asyncio.sleep(5)

    async def given_up() -> None:
        task = asyncio.create_task(inside())
        await asyncio.sleep(0.01)
        start = time.monotonic()
        gate.give_up()
        with pytest.raises(RefusedError) as refused:
            await task
        assert refused.value.code == "draining"
        assert gate.inside == 0
        assert time.monotonic() - start < 1

    asyncio.run(given_up())


def test_a_timeout_of_the_work_itself_stays_what_it_is() -> None:
    async def inside() -> None:
        async with admission().place():
            raise TimeoutError

    with pytest.raises(TimeoutError):
        asyncio.run(inside())

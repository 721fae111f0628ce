"""What a request may hold, asked of the functions themselves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.datastructures import Headers
from starlette.requests import Request

from motivnet_engines.serving.http.errors import RequestError
from motivnet_engines.serving.http.limits import UploadBuffer, check_head
from motivnet_engines.serving.request_queue import DrainingError
from motivnet_engines.serving.settings import ServeSettings


@pytest.mark.parametrize("length", ["0", "5", "20000000"])
def test_a_request_with_two_ends_is_refused_and_its_connection_closed(length: str) -> None:
    headers = Headers({"Content-Length": length, "Transfer-Encoding": "chunked"})
    with pytest.raises(RequestError) as refused:
        check_head(headers, ServeSettings())
    assert (refused.value.code, refused.value.status) == ("bad_request", 400)
    assert refused.value.headers["Connection"] == "close"


def test_a_request_with_one_end_is_not() -> None:
    check_head(Headers({"Content-Length": "5"}), ServeSettings())
    check_head(Headers({"Transfer-Encoding": "chunked"}), ServeSettings())


class Sender:
    """A request whose body arrives when told to; ``given`` has what the service read of it."""

    def __init__(self, buffer: UploadBuffer) -> None:
        self.read = asyncio.Event()
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        headers = [(b"content-type", b"image/png")]
        self._request = Request(
            {"type": "http", "method": "POST", "path": "/", "headers": headers}, self._messages.get
        )
        self._answered = asyncio.Event()
        self.task = asyncio.create_task(self._ask(buffer))

    async def _ask(self, buffer: UploadBuffer) -> None:
        async with buffer.read(self._request):
            self.read.set()
            await self._answered.wait()

    async def send(self, size: int, *, last: bool = False) -> None:
        """Send so many bytes, and let the service read them."""
        await self._messages.put(
            {"type": "http.request", "body": bytes(size), "more_body": not last}
        )
        for _ in range(5):
            await asyncio.sleep(0)

    async def refusal(self) -> Exception:
        with pytest.raises((RequestError, DrainingError)) as refused:
            await self.task
        return refused.value

    async def answer(self) -> None:
        self._answered.set()
        await self.task


def buffer_of(size: int, **changes: Any) -> UploadBuffer:
    class Small(ServeSettings):
        upload_buffer_bytes = size  # type: ignore[assignment] # of a property

    return UploadBuffer(Small(**changes))


def test_only_bytes_that_arrived_take_room_until_their_request_is_answered() -> None:
    async def scenario() -> None:
        buffer = buffer_of(100)
        first, second = Sender(buffer), Sender(buffer)
        await first.send(60, last=True)
        await second.send(40)
        await second.send(1)
        refused = await second.refusal()
        assert isinstance(refused, RequestError)
        assert (refused.code, refused.status) == ("overloaded", 503)
        third = Sender(buffer)
        await third.send(40, last=True)
        assert first.read.is_set()
        assert third.read.is_set()
        await first.answer()
        await third.answer()
        last = Sender(buffer)
        await last.send(100, last=True)
        await last.answer()

    asyncio.run(scenario())


def test_a_body_that_does_not_arrive_is_too_slow_and_its_connection_closed() -> None:
    async def scenario() -> None:
        sender = Sender(buffer_of(100, body_timeout_s=0.001))
        await sender.send(10)
        refused = await sender.refusal()
        assert isinstance(refused, RequestError)
        assert (refused.code, refused.status) == ("too_slow", 408)
        assert refused.headers["Connection"] == "close"

    asyncio.run(scenario())


def test_draining_refuses_bodies_that_have_not_arrived_and_no_other() -> None:
    async def scenario() -> None:
        buffer = buffer_of(100)
        whole, half = Sender(buffer), Sender(buffer)
        await whole.send(10, last=True)
        await half.send(10)
        buffer.drain()
        assert isinstance(await half.refusal(), DrainingError)
        await whole.answer()

    asyncio.run(scenario())

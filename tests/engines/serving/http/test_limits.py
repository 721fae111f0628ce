"""What a request may hold, asked of the functions themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.requests import Request

from motivnet_engines.serving.http.errors import RequestError
from motivnet_engines.serving.http.limits import UploadBuffer, check_head, read_uploads
from motivnet_engines.serving.request_queue import DrainingError
from motivnet_engines.serving.service import Upload
from motivnet_engines.serving.settings import ServeSettings

BOUNDARY = b"----boundary"
FORM = f"multipart/form-data; boundary={BOUNDARY.decode()}"


def form(*parts: bytes) -> bytes:
    pieces = [b"--" + BOUNDARY + b"\r\n" + part + b"\r\n" for part in parts]
    return b"".join(pieces) + b"--" + BOUNDARY + b"--\r\n"


def field(data: bytes) -> bytes:
    return b'Content-Disposition: form-data; name="f"\r\n\r\n' + data


def file(data: bytes) -> bytes:
    head = b'Content-Disposition: form-data; name="f"; filename="a.png"\r\n'
    return head + b"Content-Type: image/png\r\n\r\n" + data


def read(
    body: bytes, kind: str = FORM, *, max_images: int = 8, piece: int = 65_536
) -> list[Upload]:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), piece):
            yield body[start : start + piece]

    headers = Headers({"content-type": kind})
    return asyncio.run(read_uploads(headers, pieces(), max_images=max_images))


def status_of(body: bytes) -> int:
    try:
        read(body)
    except RequestError as refused:
        return refused.status
    return 200


@settings(deadline=None)
@given(
    st.lists(
        st.binary(max_size=300).filter(lambda data: BOUNDARY not in data), min_size=1, max_size=8
    ),
    st.integers(1, 400),
)
def test_every_byte_of_every_file_is_read_in_order(contents: list[bytes], piece: int) -> None:
    uploads = read(form(*map(file, contents)), piece=piece)
    assert [upload.data for upload in uploads] == contents


def test_a_file_of_many_megabytes_is_not_written_to_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a file was opened")

    monkeypatch.setattr("tempfile.SpooledTemporaryFile.rollover", refuse)
    [upload] = read(form(file(bytes(5_000_000))))
    assert upload == Upload(data=bytes(5_000_000), name="a.png")


# Starlette forgets a file whose part has no end; it was in memory alone.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:Unclosed file:ResourceWarning")
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_form_is_refused_or_read_and_nothing_else(data: st.DataObject) -> None:
    body = bytearray(form(file(b"first"), file(b"second")))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, max(0, len(body) - 1)))
        if data.draw(st.booleans()):
            body[place:place] = data.draw(st.binary(min_size=1, max_size=5))
        else:
            del body[place : place + data.draw(st.integers(1, 30))]
    assert status_of(bytes(body)) in (200, 400)


@pytest.mark.parametrize(
    "body",
    [
        form(file(b"x"))[:-4],
        form(file(b"x"), file(b"y"))[:-20],
        form(field(b"x")),
        form(b"\r\nx"),
        form(*[field(b"x")] * 17, file(b"x")),
        form(field(b"x" * 70_000), file(b"x")),
        form(*[file(b"x")] * 3),
        form(b"X: " + b"a" * 100_000 + b"\r\n\r\nx"),
        form(b"".join(b"X%d: 1\r\n" % number for number in range(1000)) + b"\r\nx"),
        b"x" * 1_000_000,
    ],
)
def test_a_form_that_is_too_much_or_not_one_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError) as refused:
        read(body, max_images=2)
    assert refused.value.code == "bad_request"


@pytest.mark.parametrize(
    "kind", ["image/jpeg", "IMAGE/PNG", "image/x-unknown; q=1", "application/octet-stream"]
)
def test_an_image_is_sent_as_it_is(kind: str) -> None:
    assert read(b"bytes", kind) == [Upload(data=b"bytes")]


def test_the_boundary_of_a_form_may_be_quoted() -> None:
    body = form(file(b"x")).replace(BOUNDARY, b"a b")
    assert len(read(body, 'multipart/form-data; boundary="a b"')) == 1


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

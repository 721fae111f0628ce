"""A small HTTP client, cheap enough to overload a service on the same machine."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image


@dataclass(frozen=True, kw_only=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return "" if self.status == 200 else str(self.json["error"]["code"])


@dataclass
class Connection:
    """One connection, which is opened again when the service closed it."""

    port: int
    reader: asyncio.StreamReader | None = field(default=None)
    writer: asyncio.StreamWriter | None = field(default=None)

    async def ask(self, data: bytes) -> Reply:
        start = time.monotonic()
        if self.writer is None or self.reader is None or self.reader.at_eof():
            self.close()
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        assert self.reader is not None
        self.writer.write(data)
        try:
            reply = await read_reply(self.reader, start)
        except BaseException:
            self.close()
            raise
        if reply.headers.get("connection") == "close":
            self.close()
        return reply

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.writer = None


async def read_reply(reader: asyncio.StreamReader, start: float) -> Reply:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {
        name.lower(): value.strip()
        for name, _, value in (line.partition(":") for line in head[1:] if line)
    }
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Reply(
        status=int(head[0].split()[1]), headers=headers, body=body, seconds=time.monotonic() - start
    )


async def ask_once(port: int, data: bytes) -> Reply:
    """On a connection of its own."""
    connection = Connection(port)
    try:
        return await connection.ask(data)
    finally:
        connection.close()


def request_of(
    body: bytes, *, path: str = "/v1/predict", method: str = "POST", headers: Iterable[str] = ()
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Content-Type: image/png", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def form_of(photos: Iterable[bytes]) -> bytes:
    """A request with several photos."""
    head = 'Content-Disposition: form-data; name="image"; filename="face.bmp"'
    body = (
        b"".join(f"--b\r\n{head}\r\n\r\n".encode() + photo + b"\r\n" for photo in photos)
        + b"--b--\r\n"
    )
    lines = (
        "POST /v1/predict HTTP/1.1",
        "Host: localhost",
        "Content-Type: multipart/form-data; boundary=b",
    )
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def unique_photo(number: int) -> bytes:
    """Return a picture of a colour that no other number below 250 ** 3 has."""
    buffer = io.BytesIO()
    colour = (number % 250, number // 250 % 250, number // 62_500 % 250)
    Image.fromarray(np.full((8, 6, 3), colour, np.uint8)).save(buffer, "BMP")
    return buffer.getvalue()


@contextlib.asynccontextmanager
async def half_open(port: int) -> Any:
    """Three clients that went silent: one said nothing, one half a head, one half a body."""
    sent = (b"", b"POST /v1/predict HTTP/1.1\r\nHost: localh", request_of(bytes(1000))[:-500])
    writers = []
    for data in sent:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        await writer.drain()
        writers.append(writer)
    yield writers
    for writer in writers:
        writer.close()

"""Figure 22, the clients that stall: they hold no connection for long, and are not too many."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from typing import Any

from clients import ask_once, get, request_of, unique_photo
from figure import Figure
from process import Served, served


def slow(*, keep_alive_s: int = 1, body_s: float = 1.5, write_s: float = 1.0) -> Figure:
    """Clients that send half a body, idle after an answer, or do not read.

    The head of a request is not timed here: that is the work of a proxy (docs/serving.md).
    """
    settings = {
        "keep_alive_s": keep_alive_s,
        "body_timeout_s": body_s,
        "write_timeout_s": write_s,
    }
    with served(settings=settings) as service:
        values = asyncio.run(_stalled(service))
    figure = Figure(values)
    for name, seconds in values["closed_after_s"].items():
        bound = (body_s if "body" in name else keep_alive_s) + 1
        figure.require(seconds <= bound, f"{name} was closed after {seconds} s and not {bound}")
    seconds = values["not_reading_closed_after_s"]
    figure.require(seconds <= write_s + 5, f"who does not read was closed after {seconds} s")
    figure.require(values["status"]["half a body"] == 408, "a slow body is not told so")
    figure.require(values["honest_ms"] < 1000, "honest clients wait for slow ones")
    figure.require(
        values["honest_refused"] == 0,
        "honest clients are refused because others announce large bodies",
    )
    figure.require(values["rss_growth_mb"] < 450, "bodies that stall are held without bound")
    return figure


async def _stalled(service: Served) -> dict[str, Any]:
    body = request_of(bytes(1000))
    kinds: dict[str, tuple[bytes, bytes]] = {
        "half a body": (body[:-500], b""),
        "a body byte by byte": (body[:-900], b"a"),
        "idle after an answer": (get("/healthz"), b""),
    }
    tasks = {name: asyncio.create_task(_stall(service.port, *data)) for name, data in kinds.items()}
    deaf = asyncio.create_task(_not_reading(service.port))
    start = time.monotonic()
    honest = await ask_once(service.port, request_of(unique_photo(1)))
    waited = time.monotonic() - start
    found = {name: await task for name, task in tasks.items()}
    before = service.rss()
    refused = await _honest_among(service.port, _large_bodies())
    return {
        "closed_after_s": {name: round(seconds, 2) for name, (seconds, _) in found.items()},
        "status": {name: status for name, (_, status) in found.items()},
        "not_reading_closed_after_s": round(await deaf, 2),
        "honest_ms": round(waited * 1e3, 1) if honest.status == 200 else 1e9,
        "honest_refused": refused,
        "rss_growth_mb": round((service.peak() - before) / 1e6, 1),
    }


def _large_bodies() -> list[bytes]:
    """Forty that are announced and do not come, and eight that stop before their end."""
    head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
    announced = head + b"Content-Length: 20000000\r\n\r\n"
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
    return [announced] * 20 + [chunked] * 20 + [announced + bytes(19_000_000)] * 8


async def _honest_among(port: int, stalling: list[bytes]) -> int:
    """How many of twenty honest requests are not answered meanwhile."""
    writers = [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in stalling]
    senders = []
    for writer, data in zip(writers, stalling, strict=True):
        writer.write(data)
        senders.append(asyncio.create_task(writer.drain()))
    refused = 0
    for number in range(20):
        reply = await ask_once(port, request_of(unique_photo(number)))
        refused += reply.status != 200
        await asyncio.sleep(0.05)
    for writer in writers:
        writer.transport.abort()
    await asyncio.gather(*senders, return_exceptions=True)
    return refused


async def _stall(port: int, first: bytes, then: bytes) -> tuple[float, int]:
    """How long the service kept the connection, and the last status that it sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    start, received = time.monotonic(), b""
    writer.write(first)
    try:
        while time.monotonic() - start < 20:
            try:
                async with asyncio.timeout(0.2):
                    data = await reader.read(4096)
            except TimeoutError:
                writer.write(then)
                continue
            if not data:
                break
            received += data
    except OSError:
        pass
    finally:
        writer.close()
    statuses = re.findall(rb"HTTP/1\.1 (\d\d\d)", received)
    return time.monotonic() - start, int(statuses[-1]) if statuses else 0


async def _not_reading(port: int) -> float:
    """How long the service keeps a client that asks and asks and takes no answer."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        client.setblocking(False)
        start = time.monotonic()
        while time.monotonic() - start < 30:
            try:
                client.send(get("/page/style.css") * 50)
            except BlockingIOError:
                await asyncio.sleep(0.02)
            except OSError:
                break
            await asyncio.sleep(0.02)
    return time.monotonic() - start


def crowd(*, connections: int = 64) -> Figure:
    """More connections than allowed: the next request is refused until there is room again."""
    with served(settings={"max_connections": connections}) as service:
        values = asyncio.run(_crowded(service, connections))
    figure = Figure(values)
    figure.require(values["one_more"] == 503, "one connection too many was not refused")
    figure.require(values["refused_ms"] <= 500, "the refusal takes long")
    figure.require(values["afterwards"] == 200, "there is no room again afterwards")
    return figure


async def _crowded(service: Served, connections: int) -> dict[str, Any]:
    opened = [await asyncio.open_connection("127.0.0.1", service.port) for _ in range(connections)]
    refused = await ask_once(service.port, get("/healthz"))
    for _, other in opened:
        other.close()
    await asyncio.sleep(0.3)
    afterwards = await ask_once(service.port, request_of(unique_photo(1)))
    return {
        "connections": connections,
        "one_more": refused.status,
        "refused_ms": round(refused.seconds * 1e3, 1),
        "afterwards": afterwards.status,
    }

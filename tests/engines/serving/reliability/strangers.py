"""Hundreds of connections from one address, and whether another address is answered meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from clients import Reply, ask_once, get, read_reply, request_of, unique_photo
from figure import Figure
from process import served
from proxies import free_port, proxy_before

_ROOT = "/faces"
_ADDRESS = "127.0.0.2"
_PATIENCE_S = 5.0

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]


def strangers(
    *, proxy: str, connections: int = 300, seconds: float = 8.0, asked: int = 25
) -> Figure:
    """Behind nginx or Caddy as documented, or the service alone (``none``).

    How many of ``asked`` probes and as many photos get 200, while the connections are held or used.
    """
    values = {
        name: asyncio.run(_measured(proxy, behaviour, connections, seconds, asked))
        for name, behaviour in _BEHAVIOURS.items()
    }
    figure = Figure(values)
    for name, answered in values.items():
        figure.require(
            proxy == "none" or name == "whole requests" or answered == [asked, asked],
            f"{name}: {answered} of {asked} probes and photos were answered",
        )
    return figure


async def _measured(
    proxy: str, behave: Behaviour, connections: int, seconds: float, asked: int
) -> list[int]:
    settings = {"root_path": _ROOT}
    with (
        tempfile.TemporaryDirectory() as folder,
        served(settings=settings, ms_per_image=10) as service,
        contextlib.ExitStack() as stack,
    ):
        port = service.port
        if proxy != "none":
            port = free_port()
            behind = proxy_before(service.port, proxy=proxy, port=port, folder=Path(folder))
            stack.enter_context(behind)
        held = [asyncio.create_task(_hold(port, behave)) for _ in range(connections)]
        await asyncio.sleep(1)
        questions: list[asyncio.Task[bool]] = []
        for number in range(asked):
            photo = request_of(unique_photo(number), path=f"{_ROOT}/v1/predict")
            asked_now = (get(f"{_ROOT}/readyz"), photo)
            questions += [asyncio.create_task(_answered(port, data)) for data in asked_now]
            await asyncio.sleep(seconds / asked)
        answered = await asyncio.gather(*questions)
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)
    return [sum(answered[::2]), sum(answered[1::2])]


async def _answered(port: int, data: bytes) -> bool:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return _is_answer(await ask_once(port, data))
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False


def _is_answer(reply: Reply) -> bool:
    return reply.status == 200 and bool({"status", "images"} & set(reply.json))


async def _hold(port: int, behave: Behaviour) -> None:
    """Behave so on a connection, and on a new one as soon as it is closed."""
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, local_addr=(_ADDRESS, 0)
            )
            try:
                await behave(reader, writer)
                await reader.read()
            finally:
                writer.close()
        await asyncio.sleep(0.05)


async def _send_nothing(*_: Any) -> None:
    """Only hold the connection."""


async def _send_half_a_body(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(request_of(bytes(1000), path=f"{_ROOT}/v1/predict")[:-500])
    await writer.drain()


async def _ask_once_and_rest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(get(f"{_ROOT}/healthz"))
    await read_reply(reader, 0.0)


async def _ask_without_pause(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(request_of(unique_photo(1), path=f"{_ROOT}/v1/predict"))
        if (await read_reply(reader, 0.0)).headers.get("connection") == "close":
            return


_BEHAVIOURS: dict[str, Behaviour] = {
    "nothing": _send_nothing,
    "half a body": _send_half_a_body,
    "idle after an answer": _ask_once_and_rest,
    "whole requests": _ask_without_pause,
}

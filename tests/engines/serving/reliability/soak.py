"""Figure 21: good, bad, slow, cancelled and vanishing clients, and a process that must not grow."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from typing import Any

import numpy as np
from clients import Connection, ask_once, request_of, unique_photo
from figure import Figure, expected_faces, faces
from process import Served, served

BOUND = 1_000_000
"""Bytes that may be lost in 10,000 requests."""


def soak(*, seconds: float, leak: int = 0, seed: int = 0, clients: int = 8) -> Figure:
    """The growth of the process by its requests after a warm-up; ``leak`` adds bytes per image."""
    with served(leak=leak, settings={"keep_alive_s": 1, "body_timeout_s": 1.0}) as service:
        values = asyncio.run(_soaked(service, seconds, seed, clients))
    figure = Figure(values)
    figure.require(values["bytes_per_10000_high"] <= BOUND, "the process grows with its requests")
    figure.require(values["wrong"] == 0, "an answer is wrong")
    figure.require(abs(values["descriptors"]) <= 2, "descriptors are not given back")
    figure.require(abs(values["threads"]) <= 2, "threads are not given back")
    return figure


async def _soaked(service: Served, seconds: float, seed: int, clients: int) -> dict[str, Any]:
    numbers = list(range(1, 501))
    expected = expected_faces(numbers, artifact=None, runtime="")
    counts: Counter[str] = Counter()
    samples: list[tuple[int, int]] = []
    start = time.monotonic()
    await ask_once(service.port, request_of(unique_photo(1)))
    descriptors, threads = service.descriptors(), 0
    tasks = [
        asyncio.create_task(
            _client(service.port, random.Random(seed + i), expected, counts, start + seconds)
        )
        for i in range(clients)
    ]
    while time.monotonic() < start + seconds:
        await asyncio.sleep(seconds / 200)
        if time.monotonic() > start + seconds / 3:
            threads = threads or service.threads()
            samples.append((sum(counts.values()), service.rss()))
    await asyncio.gather(*tasks)
    slope, error = _slope(samples)
    await asyncio.sleep(2)
    return {
        "seconds": seconds,
        "requests": sum(counts.values()),
        **dict(counts),
        "wrong": counts["wrong"],
        "bytes_per_10000": round(slope * 1e4),
        "bytes_per_10000_low": round((slope - 1.96 * error) * 1e4),
        "bytes_per_10000_high": round((slope + 1.96 * error) * 1e4),
        "descriptors": service.descriptors() - descriptors,
        "threads": service.threads() - threads,
        "rss_mb": round(service.rss() / 1e6, 1),
    }


def _slope(samples: list[tuple[int, int]]) -> tuple[float, float]:
    """Bytes a request by least squares, and the standard error."""
    requests, rss = np.array(samples, float).T
    centred = requests - requests.mean()
    slope = float((centred * rss).sum() / (centred**2).sum())
    residuals = rss - rss.mean() - slope * centred
    return slope, float(np.sqrt((residuals**2).sum() / (len(samples) - 2) / (centred**2).sum()))


async def _client(
    port: int, randomness: random.Random, expected: dict[int, Any], counts: Counter[str], end: float
) -> None:
    connection = Connection(port)
    while time.monotonic() < end:
        number = randomness.choice(list(expected))
        kind = randomness.choices(
            ("good", "bad", "vanishing", "cancelled", "slow"), (90, 6, 2, 1.95, 0.05)
        )[0]
        try:
            await _ask(kind, connection, number, expected[number], counts)
        except (OSError, EOFError):
            counts["closed"] += 1
    connection.close()


async def _ask(
    kind: str, connection: Connection, number: int, expected: Any, counts: Counter[str]
) -> None:
    counts[kind] += 1
    data = request_of(unique_photo(number))
    if kind == "good":
        reply = await connection.ask(data)
        counts["wrong"] += reply.status != 200 or faces(reply) != [expected]
    elif kind == "bad":
        reply = await connection.ask(request_of(b"\x89PNG\r\n\x1a\nnothing of the kind"))
        counts["wrong"] += reply.status != 422
    elif kind == "vanishing":
        _, writer = await asyncio.open_connection("127.0.0.1", connection.port)
        writer.write(data[: len(data) // 2])
        writer.transport.abort()
    elif kind == "cancelled":
        _, writer = await asyncio.open_connection("127.0.0.1", connection.port)
        writer.write(data)
        await writer.drain()
        writer.close()
    else:
        reader, writer = await asyncio.open_connection("127.0.0.1", connection.port)
        writer.write(data[:-5])
        await reader.read()
        writer.close()

"""Figure 25: batches swap, lose or double nothing, and change no bit."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from typing import Any

from clients import Connection, ask_once, get, request_of, unique_photo
from figure import Figure, expected_faces, faces
from process import served

_PARTS = ("sum", "count")


def _metric(name: str, text: str) -> float:
    found = re.search(rf"^{name} (.+)$", text, re.MULTILINE)
    assert found is not None, name
    return float(found[1])


def batching(
    *, requests: int, artifact: str | None = None, runtime: str = "openvino", clients: int = 32
) -> Figure:
    """Many clients at once: every answer is, to the bit, that of its own photo alone."""
    numbers = list(range(1, requests + 1))
    wrong, replies = asyncio.run(_batched(numbers, artifact, runtime, clients))
    figure = Figure({"requests": requests, "answered": replies, **wrong})
    figure.require(wrong["different"] == 0, "an answer differs from that of a batch of one")
    figure.require(wrong["refused"] == 0, "a request was not answered")
    figure.require(wrong["mean_batch"] > 1.5, "nothing was batched")
    return figure


async def _batched(
    numbers: list[int], artifact: str | None, runtime: str, clients: int
) -> tuple[dict[str, Any], int]:
    expected = expected_faces(numbers, artifact=artifact, runtime=runtime)
    counts: Counter[str] = Counter()
    waiting = iter(numbers)
    settings = {"queue": 2 * clients, "max_delay_ms": 5.0}
    with served(artifact=artifact, runtime=runtime, settings=settings) as service:

        async def client() -> None:
            connection = Connection(service.port)
            for number in waiting:
                reply = await connection.ask(request_of(unique_photo(number)))
                if reply.status != 200:
                    counts["refused"] += 1
                elif faces(reply) != [expected[number]]:
                    counts["different"] += 1
                counts["answered"] += 1
            connection.close()

        start = time.monotonic()
        await asyncio.gather(*(client() for _ in range(clients)))
        seconds = time.monotonic() - start
        text = (await ask_once(service.port, get("/metrics"))).body.decode()
    size = {part: _metric(f"motivnet_batch_size_{part}", text) for part in _PARTS}
    mean = size["sum"] / size["count"]
    found = {name: counts[name] for name in ("different", "refused")}
    return {
        **found,
        "mean_batch": round(mean, 2),
        "per_second": round(len(numbers) / seconds),
    }, counts["answered"]

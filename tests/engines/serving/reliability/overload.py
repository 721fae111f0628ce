"""Figure 23: three times what the service can do."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from clients import Connection, Reply, form_of, request_of, unique_photo
from figure import Figure, expected_faces, percentile
from process import Served, served

PHOTOS = 2000


def overload(
    *,
    seconds: float,
    ms_per_image: float = 20.0,
    deadline_ms: int = 1000,
    factor: float = 3.0,
    images: int = 1,
    refusal_ms: float = 100.0,
    longest_ms: float = 500.0,
) -> Figure:
    """Open-loop load beyond capacity: what is accepted is in time, what is not is told at once.

    ``images`` are those of each request. ``refusal_ms`` is the 99th percentile that a client may
    see on a machine that does nothing else, ``longest_ms`` the longest of all.
    """
    capacity = 1e3 / ms_per_image / images
    with served(ms_per_image=ms_per_image, settings={"deadline_ms": deadline_ms}) as service:
        values = asyncio.run(_overloaded(service, seconds, factor * capacity, capacity, images))
    figure = Figure(values)
    figure.require(
        values["answered_p99_ms"] <= deadline_ms, "the p99 of the answered is beyond the deadline"
    )
    figure.require(
        values["refused_p99_ms"] <= refusal_ms,
        f"a client waits more than {refusal_ms} ms for a refusal",
    )
    figure.require(
        values["refused_max_ms"] <= longest_ms,
        f"a client waits more than {longest_ms} ms for a refusal",
    )
    figure.require(
        values["refused_in_service_p99_ms"] <= refusal_ms,
        f"a refusal takes the service more than {refusal_ms} ms",
    )
    figure.require(
        values["refused_in_service_max_ms"] <= longest_ms,
        "the longest refusal takes the service too long",
    )
    figure.require(values["wrong"] == 0, "an answer is not that of its photo")
    figure.require(values["without_retry_after"] == 0, "a 503 has no Retry-After")
    figure.require(values["lost"] == 0, "a request was not answered at all")
    figure.require(values["late"] <= 0.01 * values["answered"], "many were let in and then late")
    figure.require(values["throughput"] >= 0.7 * capacity, "overload costs throughput")
    figure.require(
        values["p99_after_ms"] <= 3 * values["p99_before_ms"] + 20,
        "it is slower than before afterwards",
    )
    return figure


async def _overloaded(
    service: Served, seconds: float, rate: float, capacity: float, images: int
) -> dict[str, Any]:
    numbers = list(range(1, PHOTOS + 1))
    expected = expected_faces(numbers, artifact=None, runtime="")
    photos = [_request(index, images) for index in range(len(numbers))]
    before = await _paced(service.port, photos, rate=capacity / 4, seconds=2)
    loaded = await _paced(service.port, photos, rate=rate, seconds=seconds)
    await asyncio.sleep(2)
    after = await _paced(service.port, photos, rate=capacity / 4, seconds=2)
    answered = [
        (index, reply) for index, reply in loaded if reply is not None and reply.status == 200
    ]
    refused = [reply for _, reply in loaded if reply is not None and reply.status == 503]
    overloaded = [reply for reply in refused if reply.code == "overloaded"]
    at_once = [reply.seconds for reply in overloaded]
    in_service = _in_service(service, overloaded)
    return {
        "offered": len(loaded),
        "offered_per_second": round(rate),
        "answered": len(answered),
        "throughput": round(len(answered) / seconds, 1),
        "overloaded": len(at_once),
        "late": sum(reply.code == "late" for reply in refused),
        "lost": len(loaded) - len(answered) - len(refused),
        "wrong": sum(
            _all_faces(reply) != [expected[number] for number in _numbers(index, images)]
            for index, reply in answered
        ),
        "without_retry_after": sum("retry-after" not in reply.headers for reply in refused),
        "answered_p99_ms": round(percentile([reply.seconds for _, reply in answered], 99) * 1e3, 1),
        "answered_max_ms": round(
            percentile([reply.seconds for _, reply in answered], 100) * 1e3, 1
        ),
        "refused_p99_ms": round(percentile(at_once, 99) * 1e3, 1),
        "refused_max_ms": round(percentile(at_once, 100) * 1e3, 1),
        "refused_in_service_p99_ms": percentile(in_service, 99),
        "refused_in_service_max_ms": percentile(in_service, 100),
        "p99_before_ms": round(_p99(before) * 1e3, 1),
        "p99_after_ms": round(_p99(after) * 1e3, 1),
    }


def _numbers(index: int, images: int) -> list[int]:
    """Of the photos in the request with this index."""
    return [(index * images + place) % PHOTOS + 1 for place in range(images)]


def _request(index: int, images: int) -> bytes:
    photos = [unique_photo(number) for number in _numbers(index, images)]
    return request_of(photos[0]) if images == 1 else form_of(photos)


def _all_faces(reply: Reply) -> list[Any]:
    return [face for image in reply.json["images"] for face in image["faces"]]


def _in_service(service: Served, replies: list[Reply]) -> list[float]:
    """Milliseconds from the head of each request to its answer, by the service's own clock."""
    lines = map(json.loads, service.log.read_text().splitlines())
    took = {line["request"]: line["ms"] for line in lines if "ms" in line}
    return [took[reply.headers["x-request-id"]] for reply in replies]


def _p99(replies: list[tuple[int, Reply | None]]) -> float:
    return percentile([reply.seconds for _, reply in replies if reply is not None], 99)


async def _paced(
    port: int, requests: list[bytes], *, rate: float, seconds: float
) -> list[tuple[int, Reply | None]]:
    """Requests at their times, whatever became of those before them."""
    free: list[Connection] = []
    found: list[tuple[int, Reply | None]] = []

    async def ask(index: int) -> None:
        connection = free.pop() if free else Connection(port)
        try:
            found.append((index, await connection.ask(requests[index % len(requests)])))
            free.append(connection)
        except (OSError, EOFError):
            found.append((index, None))

    start, tasks = time.monotonic(), []
    for index in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, start + index / rate - time.monotonic()))
        tasks.append(asyncio.create_task(ask(index)))
    await asyncio.gather(*tasks)
    for connection in free:
        connection.close()
    return found

"""Figure 24: the end of a service under load."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from typing import Any

from clients import Connection, ask_once, get, half_open, request_of, unique_photo
from figure import Figure, expected_faces, faces
from process import Served, served

GRACE = 3.0


def drain(*, runs: int, seed: int = 0) -> Figure:
    """SIGTERM at random times under load, with silent clients: no accepted request is lost."""
    randomness = random.Random(seed)
    found = [asyncio.run(_drained(randomness.uniform(0.2, 1.2))) for _ in range(runs)]
    figure = Figure(
        {
            "runs": runs,
            "answered": sum(run["answered"] for run in found),
            "answered_after_signal": sum(run["answered_after"] for run in found),
            "told_draining": sum(run["draining"] for run in found),
            "accepted_and_lost": sum(run["lost"] for run in found),
            "wrong": sum(run["wrong"] for run in found),
            "not_ready_max_ms": round(max(run["not_ready"] for run in found) * 1e3, 1),
            "exit_max_s": round(max(run["exit"] for run in found), 2),
            "exit_status": sorted({run["status"] for run in found}),
        }
    )
    figure.require(figure.values["accepted_and_lost"] == 0, "an accepted request was not answered")
    figure.require(
        figure.values["answered_after_signal"] > 0, "nothing was in work when the signal came"
    )
    figure.require(figure.values["wrong"] == 0, "an answer is not that of its photo")
    figure.require(
        figure.values["not_ready_max_ms"] <= 100, "it says that it is ready for more than 100 ms"
    )
    figure.require(
        figure.values["exit_max_s"] <= GRACE + 1,
        "the end comes more than a second after the grace period",
    )
    figure.require(figure.values["exit_status"] == [0], "the exit status is not 0")
    return figure


async def _drained(delay: float) -> dict[str, Any]:
    numbers = list(range(1, 201))
    expected = expected_faces(numbers, artifact=None, runtime="")
    counts: Counter[str] = Counter()
    with served(ms_per_image=20.0, settings={"grace_s": GRACE}) as service:
        signalled = 0.0

        async def client(number: int) -> None:
            connection = Connection(service.port)
            while True:
                try:
                    reply = await connection.ask(request_of(unique_photo(number)))
                except (OSError, EOFError):
                    # Of a connection that was closed while nothing was being answered on it.
                    counts["closed"] += 1
                    return
                if reply.status != 200:
                    counts[reply.code] += 1
                    return
                counts["answered"] += 1
                counts["answered_after"] += bool(signalled)
                counts["wrong"] += faces(reply) != [expected[number]]

        clients = [asyncio.create_task(client(number)) for number in numbers[:24]]
        async with half_open(service.port):
            await asyncio.sleep(delay)
            signalled = time.monotonic()
            service.process.terminate()
            not_ready = await _until_not_ready(service.port, signalled)
            await asyncio.to_thread(service.process.wait, 30)
            ended = time.monotonic() - signalled
            await asyncio.gather(*clients)
        return {
            **{name: counts[name] for name in ("answered", "answered_after", "draining", "wrong")},
            "lost": _logged(service, 200) - counts["answered"] + _logged(service, 499),
            "not_ready": not_ready,
            "exit": ended,
            "status": service.process.returncode,
        }


def _logged(service: Served, status: int) -> int:
    """Count the predictions that the service says it answered so."""
    lines = service.log.read_text().splitlines()
    return sum('"path": "/v1/predict"' in line and f'"status": {status}' in line for line in lines)


async def _until_not_ready(port: int, start: float) -> float:
    while True:
        asked = time.monotonic()
        try:
            if (await ask_once(port, get("/readyz"))).status == 503:
                break
        except (OSError, EOFError):
            break
    return asked - start


def unfinished(*, grace_s: float = 1.0) -> Figure:
    """A call that outlasts the grace period does not delay the end; the exit status is 1."""
    with served(ms_per_image=20_000.0, settings={"grace_s": grace_s}) as service:
        seconds, code = asyncio.run(_left_unfinished(service))
        told = _logged(service, 503)
    figure = Figure(
        {"exit_s": round(seconds, 2), "exit_status": service.process.returncode, "code": code}
    )
    figure.require(code == "draining", "the client is not told why there is no answer")
    figure.require(told == 1, "the log does not tell of it")
    figure.require(
        grace_s <= seconds <= grace_s + 1, "the end is not within a second after the grace period"
    )
    figure.require(service.process.returncode == 1, "the exit status is not 1")
    return figure


async def _left_unfinished(
    service: Served, *, signals: tuple[int, ...] = (signal.SIGTERM,), gap: float = 0.0
) -> Any:
    """How long the end took, and what the client was told."""
    asked = asyncio.create_task(ask_once(service.port, request_of(unique_photo(1))))
    await asyncio.sleep(0.5)
    start = time.monotonic()
    for number in signals:
        service.process.send_signal(number)
        await asyncio.sleep(gap)
    await asyncio.to_thread(service.process.wait, 30)
    seconds = time.monotonic() - start
    [reply] = await asyncio.gather(asked, return_exceptions=True)
    return seconds, repr(reply) if isinstance(reply, BaseException) else reply.code


def hurried(*, grace_s: float = 10.0) -> Figure:
    """A second signal ends the grace period, and whoever is still inside is told so."""
    pairs = {
        "TERM, TERM": (signal.SIGTERM,) * 2,
        "INT, INT": (signal.SIGINT,) * 2,
        "INT x 4": (signal.SIGINT,) * 4,
    }
    figure = Figure({})
    for name, signals in pairs.items():
        with served(ms_per_image=20_000.0, settings={"grace_s": grace_s}) as service:
            seconds, code = asyncio.run(_left_unfinished(service, signals=signals, gap=0.3))
            log = service.log.read_text()
        figure.values[name] = {
            "exit_s": round(seconds, 2),
            "status": service.process.returncode,
            "code": code,
        }
        figure.require(seconds <= 0.3 * len(signals) + 1, f"{name}: the end is not at once")
        figure.require(service.process.returncode == 1, f"{name}: the exit status is not 1")
        figure.require(code == "draining", f"{name}: the client is not told")
        figure.require("Traceback" not in log, f"{name}: there is a traceback in the log")
    return figure

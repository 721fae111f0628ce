"""Figure 22, second half: bytes that are no request, and bodies beyond the limit."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from typing import Any

from clients import ask_once, read_reply, request_of, unique_photo
from figure import Figure, expected_faces, faces
from process import Served, served

LIMIT = 1_000_000
_LEAK = re.compile(
    r"Traceback|File \"|/work|/home|/usr|/tmp|site-packages|\.py\b|0x[0-9a-f]{6}|uvicorn|starlette"
)
_PLAIN = request_of(unique_photo(1))
_POST = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n"
_HEADS = (
    b"",
    b"\r\n\r\n",
    b"\x00" * 64,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),  # TLS
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
    b"GET /\r\n\r\n",
    b"GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\nb\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n folded: 1\r\n\r\n",
    b"GET /%00%ff%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /page/..%2f..%2fapp.py HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"CONNECT evil.example:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    b"A" * 20_000,
    b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n"
    + b"".join(b"X%d: 1\r\n" % i for i in range(500))
    + b"\r\n",
    b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1e9\r\n\r\n",
    b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n",
    _POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    _POST + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n",
    _POST
    + b"Content-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"1\r\na\r\n" * 5000
    + b"0\r\n\r\n",
    _PLAIN + _PLAIN + b"garbage",
    b"OPTIONS /v1/predict HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\n"
    b"Access-Control-Request-Method: POST\r\n\r\n",
    *(
        _POST + b"Content-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (kind, len(body), body)
        for kind, body in (
            (b"application/json", b"[" * 900_000),
            (b"application/json", b'{"images":[' + b'"",' * 200_000),
            (b"application/json", b'{"image":"http://169.254.169.254/"}'),
            (b"multipart/form-data; boundary=b", b"--b\n\n" * 1000),
            (b"multipart/form-data; boundary=b", b"--b\r\n\r\n\r\n" * 50_000),
            (
                b"multipart/form-data; boundary=b",
                b"--b\r\nContent-Disposition: f; filename*=hex''%00; filename*0*=x\r\n\r\n"
                b"\r\n--b--",
            ),
        )
    ),
)


def hostile(*, requests: int, seed: int = 0) -> Figure:
    """Broken requests over bare sockets; after each hundred an honest one must get its answer."""
    with served(
        settings={"max_body_bytes": LIMIT, "keep_alive_s": 1, "body_timeout_s": 1.0}
    ) as service:
        asyncio.run(ask_once(service.port, request_of(unique_photo(7))))
        before = service.descriptors()
        values = asyncio.run(_attacked(service, requests, random.Random(seed)))
        time.sleep(1.5)
        values["descriptors"] = service.descriptors() - before
        values["tracebacks"] = service.log.read_text().count("Traceback")
    figure = Figure(values)
    figure.require(values["unexpected_5xx"] == 0, "a broken request got an unexpected 5xx")
    figure.require(values["leaks"] == 0, "an error tells of the inside")
    figure.require(values["not_json"] == 0, "an error is not JSON")
    figure.require(values["descriptors"] <= 2, "connections of clients that left are kept open")
    figure.require(values["honest_failed"] == 0, "an honest request between them failed")
    figure.require(values["tracebacks"] == 0, "the service logged an error of its own")
    return figure


async def _attacked(service: Served, requests: int, randomness: random.Random) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    expected = expected_faces([7], artifact=None, runtime="")[7]
    for first in range(0, requests, 50):
        attacks = [_attack(index, randomness) for index in range(first, min(requests, first + 50))]
        await asyncio.gather(*(_tried(service.port, attack, counts) for attack in attacks))
        honest = await ask_once(service.port, request_of(unique_photo(7)))
        counts["honest_failed"] += honest.status != 200 or faces(honest) != [expected]
    names = ("unexpected_5xx", "leaks", "not_json", "honest_failed")
    statuses = {name: counts[name] for name in sorted(counts) if name.startswith("status")}
    return {"requests": requests, **{name: counts[name] for name in names}, **statuses}


def _attack(index: int, randomness: random.Random) -> bytes:
    """Each of the known ones once, then requests that are cut, spliced or changed at random."""
    if index < len(_HEADS):
        return _HEADS[index]
    data = bytearray(randomness.choice((_PLAIN, *_HEADS)))
    for _ in range(randomness.randint(1, 6)):
        if not data:
            break
        place = randomness.randrange(min(len(data), 400))
        action = randomness.randrange(4)
        if action == 0:
            data[place] = randomness.randrange(256)
        elif action == 1:
            del data[place : place + randomness.randint(1, 40)]
        elif action == 2:
            data[place:place] = randomness.choice(
                (b"\r\n", b"\x00", b":", b"\xff", b" ", b"Content-Length: 0\r\n")
            )
        else:
            del data[place:]
    return bytes(data)


async def _tried(port: int, data: bytes, counts: Counter[str]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    try:
        writer.write(data)
        # Half a head is waited for; the end of the answers is that nothing more comes.
        while more := await asyncio.wait_for(reader.read(1 << 20), 1.5):
            received += more
    except TimeoutError:
        counts["status open"] += 1
    except OSError:
        counts["status reset"] += 1
        return
    finally:
        writer.close()
    _count_replies(received, counts)


def _count_replies(received: bytes, counts: Counter[str]) -> None:
    found = re.findall(rb"HTTP/1\.1 (\d\d\d)", received)
    if not found:
        counts["status none"] += 1
    for status in found:
        counts[f"status {status.decode()}"] += 1
        counts["unexpected_5xx"] += status.startswith(b"5")
    text = received.decode("latin-1")
    if found and not found[-1].startswith(b"2"):
        counts["leaks"] += bool(_LEAK.search(text))
        # What is no HTTP is refused by the server, in its own words.
        is_ours = '{"error":' in text or "Invalid HTTP request received." in text
        counts["not_json"] += not is_ours


def oversized(*, requests: int) -> Figure:
    """Bodies far beyond the limit, announced or not: all refused, and none held in memory."""
    with served(settings={"max_body_bytes": LIMIT}) as service:
        values = asyncio.run(_oversized(service, requests))
    figure = Figure(values)
    figure.require(values["not_413"] == 0, "a body beyond the limit was not refused with 413")
    # Held bodies would be 10 MB per 100 or more; what the allocator keeps varies by 18 MB in all.
    figure.require(
        values["rss_growth_kib_per_100"] < 5_120, "over-limit requests make the process grow"
    )
    return figure


async def _oversized(service: Served, requests: int) -> dict[str, Any]:
    head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
    announced = head + b"Content-Length: 50000000\r\n\r\n" + bytes(100_000)
    chunk = b"%x\r\n" % 100_000 + bytes(100_000) + b"\r\n"
    hidden = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 15
    wrong = 0
    for index in range(requests):  # until the allocator has what it takes
        await _refused(service.port, hidden if index % 2 else announced)
    before = service.rss()
    for index in range(requests):
        wrong += await _refused(service.port, hidden if index % 2 else announced) != 413
    growth = (service.rss() - before) / 1024
    return {
        "requests": requests,
        "not_413": wrong,
        "rss_growth_kib_per_100": round(growth * 100 / requests, 1),
    }


async def _refused(port: int, data: bytes) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        return (await read_reply(reader, time.monotonic())).status
    finally:
        writer.close()

"""Figure 22, first half: requests generated from the OpenAPI description by schemathesis."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from clients import Reply, ask_once, request_of, unique_photo
from figure import Figure, expected_faces, faces
from process import Served, served

TOKEN = "0123456789abcdef0123456789abcdef"

_EXCLUDED = ",".join(
    (
        "positive_data_acceptance",  # no schema can say which bytes are an image
        # 503 is a documented answer to a deadline of a millisecond; 500 is looked for below.
        "not_a_server_error",
    )
)


def api(*, requests: int, seed: int = 0) -> Figure:
    """Look for undocumented statuses and answers, unexpected 5xx, and ways around the token."""
    with served(settings={"token": TOKEN}) as service:
        done = _schemathesis(service, requests, seed)
        reply = asyncio.run(
            ask_once(service.port, request_of(unique_photo(9), headers=[_authorization()]))
        )
        counts = _counts(service)
    found = re.search(r"(\d+) generated", done.stdout)
    figure = Figure(
        {"generated": int(found[1]) if found else 0, "answered": counts, "status": done.returncode}
    )
    figure.require(done.returncode == 0, done.stdout[-4000:])
    figure.require(
        figure.values["generated"] >= requests, "fewer requests were made than asked for"
    )
    figure.require("500" not in counts, "the service failed")
    figure.require(
        counts.get("503", 0) == counts.get("late", 0), "a 503 has another reason than its deadline"
    )
    figure.require(_is_right(reply), "an honest request afterwards failed")
    return figure


def _schemathesis(service: Served, requests: int, seed: int) -> subprocess.CompletedProcess[str]:
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        f"{service.url}/openapi.json",
        *("--header", _authorization()),
        *("--max-examples", str(requests), "--seed", str(seed)),
        *("--exclude-checks", _EXCLUDED),
        *("--suppress-health-check", "all"),
        *(
            "--no-color",
            "--continue-on-failure",
            "--generation-database",
            "none",
            "--warnings",
            "off",
        ),
    ]
    environment = {**os.environ, "CI": "true"}
    with tempfile.TemporaryDirectory() as folder:  # it leaves its notes where it is run
        return subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, cwd=folder
        )


def _authorization() -> str:
    return f"Authorization: Bearer {TOKEN}"


def _counts(service: Served) -> dict[str, int]:
    """How many answers had each status, and how many were late, by the service's own count."""
    data = f"GET /metrics HTTP/1.1\r\nHost: localhost\r\n{_authorization()}\r\n\r\n".encode()
    text = asyncio.run(ask_once(service.port, data)).body.decode()
    counts: dict[str, int] = {}
    for status, count in re.findall(
        r'^motivnet_requests_total{.*status="(\d+)"} (\S+)$', text, re.MULTILINE
    ):
        counts[status] = counts.get(status, 0) + int(float(count))
    for count in re.findall(r'^motivnet_refused_total{reason="late"} (\S+)$', text, re.MULTILINE):
        counts["late"] = int(float(count))
    return counts


def _is_right(reply: Reply) -> Any:
    return reply.status == 200 and faces(reply) == [
        expected_faces([9], artifact=None, runtime="")[9]
    ]

"""How the process of a service ends: with everything that is done at the end, unless a call is still under way."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

SERVED = Path(__file__).parent / "reliability" / "served.py"
WITH_ATEXIT = f"""
import atexit, runpy, sys
atexit.register(print, "the end", flush=True)
sys.path.insert(0, {str(SERVED.parent)!r})
sys.argv[0] = {str(SERVED)!r}
runpy.run_path({str(SERVED)!r}, run_name="__main__")
"""


def ended(photo: bytes, *, deadline_ms: int, **options: object) -> tuple[str, int, float]:
    """What a service prints at its end after one request, its status, and how long the end took."""
    command = [sys.executable, "-c", WITH_ATEXIT, json.dumps(options)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        headers = {"Content-Type": "image/png", "X-Deadline-Ms": str(deadline_ms)}
        httpx.post(f"{url}/v1/predict", content=photo, headers=headers)
        start = time.monotonic()
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        return rest, process.wait(30), time.monotonic() - start


def test_a_clean_end_takes_the_ordinary_way(photo: bytes) -> None:
    rest, status, _ = ended(photo, deadline_ms=10_000)
    assert (rest, status) == ("the end\n", 0)


def test_a_call_that_ends_within_the_grace_period_is_waited_for(photo: bytes) -> None:
    rest, status, seconds = ended(
        photo, deadline_ms=100, ms_per_image=1000, settings={"grace_s": 10}
    )
    assert (rest, status) == ("the end\n", 0)
    assert seconds < 5


def test_a_call_that_outlasts_the_grace_period_is_not(photo: bytes) -> None:
    rest, status, seconds = ended(
        photo, deadline_ms=100, ms_per_image=20_000, settings={"grace_s": 1}
    )
    assert (rest, status) == ("", 0)
    assert 0.9 < seconds < 3

"""The figures of ``reliability/run.py`` at a small size, each in its own processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .reliability.proxies import program_of

RUN = Path(__file__).parent / "reliability" / "run.py"

Measure = Callable[..., dict[str, Any]]


@pytest.fixture
def measure() -> Measure:
    """A function that measures a figure; what does not hold is in ``failures``."""

    def measured(name: str, **options: Any) -> dict[str, Any]:
        arguments = [f"--{option}={value}" for option, value in options.items()]
        done = subprocess.run(
            [sys.executable, str(RUN), name, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        assert done.stdout, done.stderr
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        assert done.returncode == (1 if found["failures"] else 0)
        return found

    return measured


def test_generated_requests_get_documented_answers(measure: Measure) -> None:
    found = measure("api", requests=150)
    assert found["failures"] == []


def test_batched_requests_get_the_bits_of_their_own_photo(
    measure: Measure, fp32_artifact: Path
) -> None:
    found = measure("batching", requests=2000, artifact=fp32_artifact)
    assert found["failures"] == []
    assert found["answered"] == 2000


def test_under_three_times_the_capacity_answers_are_in_time_and_refusals_at_once(
    measure: Measure,
) -> None:
    # Slow calls, so that this machine is not what is overloaded.
    found = measure(
        "overload", seconds=5, ms_per_image=50, deadline_ms=2000, refusal_ms=1000, longest_ms=1500
    )
    assert found["failures"] == []
    assert found["overloaded"] > found["answered"]


def test_forms_of_several_images_are_let_in_by_their_images(measure: Measure) -> None:
    slow = {"ms_per_image": 50, "deadline_ms": 1000, "refusal_ms": 1000, "longest_ms": 1500}
    found = measure("overload", seconds=8, images=8, **slow)
    assert found["failures"] == []
    assert found["late"] == 0
    assert found["overloaded"] > found["answered"]


def test_a_second_signal_ends_at_once_and_tells_who_waits(measure: Measure) -> None:
    assert measure("hurried")["failures"] == []


def test_the_end_under_load_loses_no_accepted_request(measure: Measure) -> None:
    assert measure("drain", runs=3)["failures"] == []


def test_what_outlasts_the_grace_period_is_given_up_and_told_in_the_exit_status(
    measure: Measure,
) -> None:
    assert measure("unfinished")["failures"] == []


def test_broken_requests_are_answered_or_closed_and_the_service_lives_on(measure: Measure) -> None:
    assert measure("hostile", requests=300)["failures"] == []


def test_bodies_beyond_the_limit_are_refused_and_not_held(measure: Measure) -> None:
    assert measure("oversized", requests=600)["failures"] == []


def test_clients_that_stall_are_cut_off(measure: Measure) -> None:
    assert measure("slow")["failures"] == []


def test_one_connection_too_many_is_refused_at_once(measure: Measure) -> None:
    assert measure("crowd")["failures"] == []


@pytest.mark.parametrize("proxy", ["nginx", "caddy"])
def test_behind_the_documented_proxy_others_are_answered_beside_silent_strangers(
    measure: Measure, proxy: str
) -> None:
    if program_of(proxy) is None:
        pytest.skip(f"needs {proxy}")
    assert measure("strangers", proxy=proxy, seconds=1, asked=5)["failures"] == []


@pytest.mark.slow
def test_a_leak_of_a_hundred_bytes_a_request_is_seen(measure: Measure) -> None:
    assert (
        "the process grows with its requests" in measure("soak", seconds=60, leak=100)["failures"]
    )


@pytest.mark.slow
def test_the_process_does_not_grow_with_its_requests(measure: Measure) -> None:
    assert measure("soak", seconds=300)["failures"] == []

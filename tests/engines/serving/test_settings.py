from __future__ import annotations

import math
from typing import Any

import pytest

from motivnet.errors import ConfigError
from motivnet_engines.serving.settings import ServeSettings, milliseconds


@pytest.mark.parametrize(
    "name",
    [
        "max_delay_ms",
        "deadline_ms",
        "grace_s",
        "header_timeout_s",
        "body_timeout_s",
        "write_timeout_s",
    ],
)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0, 1e9])
def test_a_time_is_within_its_range(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be between") as refused:
        ServeSettings(**{name: value})  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "name",
    [
        "queue",
        "max_batch",
        "max_images",
        "max_faces",
        "max_body_bytes",
        "max_connections",
        "prepare_threads",
    ],
)
@pytest.mark.parametrize("value", [0, -1])
def test_a_limit_is_above_0(name: str, value: int) -> None:
    with pytest.raises(ConfigError, match=name):
        ServeSettings(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [math.nan, math.inf, 1e308])
def test_a_deadline_is_a_finite_number(seconds: float) -> None:
    with pytest.raises(ConfigError, match="a deadline is a number of seconds"):
        milliseconds(seconds)


def test_the_largest_body_always_has_room() -> None:
    assert ServeSettings().waiting_bytes == 200_000_000
    assert ServeSettings(max_body_bytes=300_000_000).waiting_bytes >= 300_000_000
    with pytest.raises(ConfigError, match="no such body would have room"):
        ServeSettings(max_body_bytes=2000, max_waiting_bytes=1999)


def test_a_body_of_the_largest_size_is_read(make_client: Any, photo: bytes) -> None:
    client = make_client(max_body_bytes=len(photo), max_waiting_bytes=len(photo))
    assert client.predict(photo).status_code == 200

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path
from typing import Any

import pytest

from motivnet.errors import ConfigError
from motivnet_engines.serving.ray import cluster
from motivnet_engines.serving.ray.cluster import Workers, worker_count

SMALL = {"CPU": 4.0}
LARGE = {"CPU": 16.0, "GPU": 2.0}


@pytest.mark.parametrize(
    ("workers", "machines", "count"),
    [
        ({}, [SMALL, LARGE], 20),
        ({"cpus": 3}, [SMALL, SMALL], 2),  # 8 cores in all, and no room for 3 + 3 + 2
        ({"cpus": 1, "gpus": 1}, [SMALL, LARGE], 2),
        ({"cpus": 1, "gpus": 2}, [SMALL, LARGE], 1),
        ({"cpus": 1, "gpus": 0.6}, [LARGE], 2),  # a part is always of one GPU
        ({"cpus": 0.1, "gpus": 0.1}, [LARGE], 20),
        ({"cpus": 0.3}, [{"CPU": 0.9}], 3),  # 0.9 / 0.3 is 3 less the last bit
        ({"count": 3}, [SMALL], 3),
        ({"count": 4}, [SMALL], 4),
    ],
)
def test_there_are_as_many_workers_as_asked_for_or_else_as_the_machines_hold(
    workers: dict[str, Any], machines: list[dict[str, float]], count: int
) -> None:
    assert worker_count(Workers(**workers), machines) == count


@pytest.mark.parametrize("count", [None, 1])
@pytest.mark.parametrize(
    ("workers", "machines"),
    [
        ({"cpus": 5}, [SMALL, SMALL]),  # 8 cores in all
        ({"gpus": 1}, [SMALL]),
        ({"cpus": 4, "gpus": 1}, [{"CPU": 4.0}, {"CPU": 2.0, "GPU": 1.0}]),
        ({}, []),
    ],
)
def test_no_room_for_a_worker_is_refused_whether_a_number_was_asked_for_or_not(
    workers: dict[str, Any], machines: list[dict[str, float]], count: int | None
) -> None:
    with pytest.raises(
        ConfigError, match=r"^no machine of the cluster has .* for a worker.*; ask for less"
    ) as caught:
        worker_count(Workers(**workers, count=count), machines)
    assert "\n" not in str(caught.value)


def test_more_workers_than_there_is_room_for_are_refused() -> None:
    message = (
        "the cluster has room for 8 workers of 2 cores and 0 GPUs each, not for 11; ask for less"
    )
    with pytest.raises(ConfigError, match=message):
        worker_count(Workers(count=11, cpus=2), [LARGE, {"CPU": 1.0}])


@pytest.mark.parametrize(
    ("workers", "message"),
    [
        ({"count": 0}, "at least one worker, not 0"),
        ({"cpus": 0}, "more than no cores, not 0"),
        ({"cpus": float("nan")}, "more than no cores, not nan"),
        ({"gpus": -1}, "whole GPUs or a part of one, not -1"),
        ({"gpus": 1.5}, "whole GPUs or a part of one, not 1.5"),
    ],
)
def test_workers_that_make_no_sense_are_refused(workers: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Workers(**workers)


def test_a_token_of_the_user_is_closed_and_what_is_made_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_umask: None
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ray").mkdir()
    token = tmp_path / ".ray" / "auth_token"
    token.touch(0o644)
    with cluster._closed_to_others():
        (tmp_path / "made").touch()
    (tmp_path / "afterwards").touch()
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (token, tmp_path / "made")]
    assert modes == [0o600, 0o600]
    assert stat.S_IMODE((tmp_path / "afterwards").stat().st_mode) & 0o044


def test_a_user_without_a_home_has_no_token_to_close(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    before = os.umask(0o022)
    with cluster._closed_to_others():
        pass
    assert os.umask(before) == 0o022

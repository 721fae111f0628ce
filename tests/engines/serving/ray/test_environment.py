"""What is decided before Ray is imported; test_own_ray.py has what comes of it."""

from __future__ import annotations

import os

import pytest

from motivnet.errors import ConfigError
from motivnet_engines.serving.ray.environment import cluster_address, prepare_environment


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        os, "environ", {name: value for name, value in os.environ.items() if name[:4] != "RAY_"}
    )


@pytest.mark.parametrize(
    ("given", "variable", "joined"),
    [
        (None, None, None),
        (None, "", None),
        ("host:6379", None, "host:6379"),
        (None, "host:6379", "host:6379"),
        ("other:6379", "host:6379", "other:6379"),
        ("local", None, None),
        (None, "local", None),
        ("local", "host:6379", None),
        ("host:6379", "local", "host:6379"),
    ],
)
def test_ray_on_this_machine_alone_is_closed_however_it_is_asked_for(
    given: str | None, variable: str | None, joined: str | None
) -> None:
    if variable is not None:
        os.environ["RAY_ADDRESS"] = variable
    assert cluster_address(given) == joined
    prepare_environment(given)
    closed = joined is None
    assert (os.environ.get("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER") == "0") == closed
    assert (os.environ.get("RAY_AUTH_MODE") == "token") == closed
    assert ("RAY_AUTH_TOKEN" in os.environ) == closed


@pytest.mark.parametrize(("given", "variable"), [("auto", "host:6379"), (None, "auto")])
def test_no_ray_is_joined_that_only_a_file_in_tmp_names(given: str | None, variable: str) -> None:
    os.environ["RAY_ADDRESS"] = variable
    for decide in (cluster_address, prepare_environment):
        with pytest.raises(
            ConfigError,
            match=r"the address auto joins any Ray .*; name the cluster as host:port, or",
        ):
            decide(given)


def test_what_the_user_has_set_stays() -> None:
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN_PATH": "/token"}
    prepare_environment()
    assert os.environ["RAY_AUTH_MODE"] == "disabled"
    assert "RAY_AUTH_TOKEN" not in os.environ

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from motivnet.errors import ConfigError, MotivNetError
from motivnet_engines.serving.settings import ServeSettings, token_from

TOKEN = "0123456789abcdef0123456789abcdef"
ClientMaker = Callable[..., Any]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_a_loopback_address_needs_no_token(host: str) -> None:
    assert ServeSettings(host=host).token is None


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.5", "example.org", "127.0.0.1.example.org", ""]
)
def test_any_other_address_needs_a_token(host: str) -> None:
    with pytest.raises(ConfigError, match="--token-file or MOTIVNET_TOKEN"):
        ServeSettings(host=host)
    assert ServeSettings(host=host, token=TOKEN).token == TOKEN


@pytest.mark.parametrize(
    "token", ["", "short", "with a space in the middle", "umlaut-öäü-öäü-öäü", "x" * 1025]
)
def test_a_weak_or_unsendable_token_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(ConfigError, match="openssl rand") as refused:
        ServeSettings(token=token)
    assert not token or token not in str(refused.value)


def test_a_token_is_not_part_of_what_the_settings_print() -> None:
    assert TOKEN not in repr(ServeSettings(token=TOKEN))


def test_a_token_comes_from_a_file_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert token_from(None) is None
    monkeypatch.setenv("MOTIVNET_TOKEN", " from-the-environment\n")
    assert token_from(None) == "from-the-environment"
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert token_from(tmp_path / "token") == TOKEN


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, True), (0o644, True)])
def test_a_token_that_other_users_can_read_is_warned_of(
    mode: int, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(mode)
    assert token_from(tmp_path / "token") == TOKEN
    assert (
        "can be read by other users of this machine; keep it to yourself: chmod 600" in caplog.text
    ) == warned


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"x" * 2000, None])
def test_a_token_file_without_a_token_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(MotivNetError) as refused:
        token_from(tmp_path / "token")
    assert "\n" not in str(refused.value)


def test_a_token_that_cannot_be_one_is_told_with_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n{TOKEN}\n")
    with pytest.raises(
        ConfigError, match=f"{tmp_path / 'token'} holds no token: a token is"
    ) as refused:
        token_from(tmp_path / "token")
    assert TOKEN not in str(refused.value)
    monkeypatch.setenv("MOTIVNET_TOKEN", "short")
    with pytest.raises(ConfigError, match="MOTIVNET_TOKEN holds no token: a token is"):
        token_from(None)


@pytest.mark.parametrize(
    "change",
    [
        {"port": -1},
        {"port": 65_536},
        {"queue": 0},
        {"deadline_ms": 0},
        {"max_delay_ms": -1.0},
        {"grace_s": 0.0},
    ],
)
def test_a_limit_that_makes_no_sense_is_named(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        ServeSettings(**change)


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        TOKEN,
        "Bearer ÿÿ",
    ],
)
def test_without_the_token_nothing_is_told(
    make_client: ClientMaker, authorization: str | None
) -> None:
    client = make_client(token=TOKEN)
    headers = {} if authorization is None else {"Authorization": authorization.encode("latin-1")}
    for method, path in (
        ("POST", "/v1/predict"),
        ("GET", "/v1/model"),
        ("GET", "/metrics"),
        ("GET", "/other"),
    ):
        response = client.request(method, path, headers=headers)
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "unauthorised"
        assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_with_the_token_everything_works_from_any_host(
    make_client: ClientMaker, photo: bytes, scheme: str
) -> None:
    client = make_client(token=TOKEN, host="0.0.0.0")
    headers = {"Authorization": f"{scheme} {TOKEN}", "Host": "faces.example.org"}
    assert client.predict(photo, headers=headers).status_code == 200
    assert client.get("/metrics", headers=headers).status_code == 200


def test_the_page_and_the_probes_need_no_token(make_client: ClientMaker) -> None:
    client = make_client(token=TOKEN)
    for path in ("/", "/page/main.js", "/healthz", "/readyz", "/openapi.json"):
        assert client.get(path).status_code == 200


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST.:1"]
)
def test_this_machine_is_asked_by_its_own_names(make_client: ClientMaker, host: str) -> None:
    assert make_client().get("/v1/model", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example:8000",
        "192.168.0.2",
        "[::1",
        "",
        "@localhost@evil",
        "evil@localhost",
        "localhost/evil",
    ],
)
def test_a_name_that_was_made_to_lead_here_is_refused(
    make_client: ClientMaker, photo: bytes, host: str
) -> None:
    client = make_client()
    for response in (
        client.get("/", headers={"Host": host}),
        client.predict(photo, headers={"Host": host}),
    ):
        assert (response.status_code, response.json()["error"]["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "null"},
        {"Origin": "http://[::1"},
        {"Origin": "file://"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_page_of_another_site_may_not_send_images(
    make_client: ClientMaker, photo: bytes, headers: dict[str, str]
) -> None:
    for client in (make_client(), make_client(token=TOKEN)):
        response = client.predict(photo, headers={"Authorization": f"Bearer {TOKEN}", **headers})
        assert (response.status_code, response.json()["error"]["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://localhost:8000", "Sec-Fetch-Site": "same-origin"},
        {"Host": "[::1]:8000", "Origin": "http://[::1]:8000"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_our_own_page_may_send_images(
    make_client: ClientMaker, photo: bytes, headers: dict[str, str]
) -> None:
    assert make_client().predict(photo, headers=headers).status_code == 200

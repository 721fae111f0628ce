from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from motivnet.errors import ConfigError, MotivNetError
from motivnet_engines.serving.settings import ServeSettings, token_from

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    "name",
    [
        "max_delay_ms",
        "deadline_ms",
        "grace_s",
        "keep_alive_s",
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
        "max_pixels",
        "max_side",
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


def test_there_is_always_room_for_two_of_the_largest_bodies() -> None:
    assert ServeSettings().upload_buffer_bytes == 200_000_000
    assert ServeSettings(max_body_bytes=300_000_000).upload_buffer_bytes == 600_000_000


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.8.8.8", "localhost", "LOCALHOST", "localhost."),
        *("::1", "[::1]", "::1%lo", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1", "[::ffff:7f00:1]"),
    ],
)
def test_a_loopback_address_needs_no_token(host: str) -> None:
    assert ServeSettings(host=host).token is None


@pytest.mark.parametrize(
    "host",
    [
        *("0.0.0.0", "192.168.1.5", "example.org", "127.0.0.1.example.org", "localhost.evil"),
        *("::", "[::]", "fe80::1%eth0", "[fe80::1%eth0]", "::ffff:192.168.1.5"),
    ],
)
def test_any_other_address_needs_a_token(host: str) -> None:
    with pytest.raises(ConfigError, match="--token-file or MOTIVNET_TOKEN"):
        ServeSettings(host=host)
    assert ServeSettings(host=host, token=TOKEN).token == TOKEN


@pytest.mark.parametrize(
    "host",
    [
        *("", "127.0.0.1:8000", "[::1]:8000", "[::1", "::1]", "::g", "[]", "localhost:8000"),
        *("http://127.0.0.1", "//localhost", "localhost/", "fe80::1%"),
    ],
)
def test_a_host_is_an_address_alone(host: str) -> None:
    for token in (None, TOKEN):
        with pytest.raises(ConfigError, match="is not an address alone"):
            ServeSettings(host=host, token=token)


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
    "origin",
    [
        *("https://faces.example", "http://localhost:3000", "http://[::1]:3000"),
        *("https://faces.example.", "https://xn--gesichter-9za.example", "http://127.0.0.1:8080"),
    ],
)
def test_an_origin_is_allowed_as_browsers_send_it(origin: str) -> None:
    assert ServeSettings(allowed_origins=(origin,)).allowed_origins == (origin,)


@pytest.mark.parametrize(
    ("origin", "advice"),
    [
        ("https://faces.example/", "write https://faces.example"),
        ("https://faces.example:443", "write https://faces.example"),
        ("http://localhost:80/page", "write http://localhost"),
        ("HTTPS://Faces.Example", "write https://faces.example"),
        ("https://me:secret@faces.example", "write https://faces.example"),
        ("http://[0:0:0:0:0:0:0:1]:3000", "write http://[::1]:3000"),
        ("*", "such as https://faces.example"),
        ("https://*.faces.example", "such as"),
        ("null", "such as"),
        ("", "such as"),
        ("faces.example", "such as"),
        ("//faces.example", "such as"),
        ("file://", "such as"),
        ("ftp://faces.example", "such as"),
        ("https://gesichter-für-alle.example", "such as"),
        ("https://faces.example:port", "such as"),
        ("https://faces.example:99999", "such as"),
        ("https://[::1", "such as"),
        ("https://a b", "such as"),
        ("https://faces.example\n", "write https://faces.example"),
    ],
)
def test_what_is_no_origin_is_refused_with_one_that_is(origin: str, advice: str) -> None:
    with pytest.raises(ConfigError, match=r"--allowed-origin .* is not an origin") as refused:
        ServeSettings(allowed_origins=("https://good.example", origin))
    assert advice in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("path", ["", "/faces", "/a/b-c_d.e~f/1"])
def test_a_root_path_is_a_plain_path(path: str) -> None:
    assert ServeSettings(root_path=path).root_path == path


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/",
            "faces",
            "/faces/",
            "//faces",
            "/a//b",
            "/a b",
            "/a?b",
            "/a#b",
            "/%61",
            "/ä",
            "/a\n",
        ),
        *("https://faces.example/faces", "/a;b", "/{a}", "/" + "a" * 65, "/a" * 9),
    ],
)
def test_what_is_no_root_path_is_told_what_one_is(path: str) -> None:
    with pytest.raises(ConfigError, match="is not a path such as /faces") as refused:
        ServeSettings(root_path=path)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("path", ["/v1", "/page", "/faces/metrics", "/healthz/a", "/..", "/a/./b"])
def test_a_path_of_the_service_is_no_root_path(path: str) -> None:
    with pytest.raises(ConfigError, match="which is a path of the service itself"):
        ServeSettings(root_path=path)

"""The service under the path of a proxy, which takes that path off or does not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import jsonschema_rs
import pytest

from motivnet.errors import ConfigError
from motivnet_engines.serving.settings import ServeSettings

TOKEN = "0123456789abcdef0123456789abcdef"
ClientMaker = Callable[..., Any]


@pytest.mark.parametrize("before", ["", "/faces"])
def test_every_path_is_answered_with_and_without_the_root(
    make_client: ClientMaker, photo: bytes, before: str
) -> None:
    client = make_client(root_path="/faces")
    for path in ("/", "/page/main.js", "/healthz", "/readyz", "/v1/model", "/metrics"):
        assert client.get(before + path).status_code == 200
    headers = {"Content-Type": "image/png"}
    response = client.request("POST", f"{before}/v1/predict", content=photo, headers=headers)
    assert response.status_code == 200
    assert client.get(f"{before}/nothing").status_code == 404


@pytest.mark.parametrize(
    "path", ["/facesx", "/face", "/faces/faces/", "/facesx/v1/model", "/FACES/"]
)
def test_a_path_that_only_begins_like_the_root_is_none(make_client: ClientMaker, path: str) -> None:
    assert make_client(root_path="/faces").get(path).status_code == 404


def test_no_path_of_the_service_can_be_its_root(make_client: ClientMaker) -> None:
    own = {route.path.split("/")[1] for route in make_client().app.routes} - {""}
    assert "metrics" in own
    for name in own:
        with pytest.raises(ConfigError, match="a path of the service itself"):
            ServeSettings(root_path=f"/{name}")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_root_without_its_slash_leads_to_the_page(
    make_client: ClientMaker, method: str
) -> None:
    for settings in ({}, {"token": TOKEN}):
        response = make_client(root_path="/a/faces", **settings).request(method, "/a/faces")
        # A proxy may be at another address and speak HTTPS.
        assert (response.status_code, response.headers["location"]) == (308, "/a/faces/")
        assert response.headers["x-request-id"]


def test_the_root_is_no_way_around_the_token(make_client: ClientMaker) -> None:
    client = make_client(root_path="/faces", token=TOKEN)
    for path in ("/v1/model", "/metrics", "//v1/model", "/../v1/model", "/%2e%2e/metrics"):
        assert client.get(f"/faces{path}").status_code in (401, 404)
        assert client.get(f"/faces{path}").json()["error"]["code"] == "unauthorised"


def test_the_page_asks_for_nothing_outside_of_its_folder(make_client: ClientMaker) -> None:
    client = make_client(root_path="/faces")
    for path in (
        "/faces/",
        "/faces/page/main.js",
        "/faces/page/server.js",
        "/faces/page/style.css",
    ):
        text = client.get(path).text
        for opening in ('="/', "='/", "(/", "'/", '"/'):
            assert opening not in text.replace('fill="/', ""), (path, opening)


def test_the_description_names_the_root(make_client: ClientMaker, photo: bytes) -> None:
    client = make_client(root_path="/faces", token=TOKEN)
    document = client.get("/faces/openapi.json").json()
    assert document["servers"] == [{"url": "/faces"}]
    commands = document["paths"]["/v1/predict"]["post"]["description"]
    assert commands.count("http://127.0.0.1:8000/faces/v1/predict") == 3
    assert commands.count("Authorization: Bearer TOKEN") == 3
    answer = client.get("/faces/healthz").json()
    jsonschema_rs.validate(document["components"]["schemas"]["StatusBody"], answer)
    assert "servers" not in make_client().get("/openapi.json").json()


def test_metrics_and_the_log_name_paths_without_the_root(
    make_client: ClientMaker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    client = make_client(root_path="/faces")
    for path in ("/faces/v1/model", "/v1/model", "/faces", "/faces/"):
        client.get(path)
    text = client.get("/faces/metrics").text
    assert 'motivnet_requests_total{path="/v1/model",status="200"} 2.0' in text
    assert 'motivnet_requests_total{path="/",status="308"} 1.0' in text
    paths = [record.fields["path"] for record in caplog.records if hasattr(record, "fields")]
    assert paths == ["/v1/model", "/v1/model", "/", "/", "/metrics"]


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Host": "evil.example"},
        {"Forwarded": "for=203.0.113.7;host=evil.example;proto=https"},
        {"X-Forwarded-Prefix": "/evil", "X-Forwarded-Proto": "https", "X-Real-IP": "203.0.113.7"},
    ],
)
def test_what_a_proxy_says_of_a_client_is_neither_believed_nor_logged(
    make_client: ClientMaker, caplog: pytest.LogCaptureFixture, headers: dict[str, str]
) -> None:
    caplog.set_level(logging.INFO)
    client = make_client(root_path="/faces")
    assert client.get("/faces", headers=headers).headers["location"] == "/faces/"
    assert client.get("/openapi.json", headers=headers).json()["servers"] == [{"url": "/faces"}]
    [first, *_] = [record.fields for record in caplog.records if hasattr(record, "fields")]
    assert set(first) == {"request", "method", "path", "status", "ms"}

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

TOKEN = "0123456789abcdef0123456789abcdef"
ClientMaker = Callable[..., Any]


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


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-length": "0", "transfer-encoding": "chunked"}, 400),
        ({"content-length": "20000001"}, 413),
        ({"content-length": "many"}, 400),
        ({"x-deadline-ms": "soon"}, 400),
        ({"content-length": "5", "content-type": "text/plain"}, 415),
        ({"host": "evil.example"}, 403),
        ({"x-draining": "1"}, 503),
    ],
)
def test_what_the_head_of_a_request_decides_is_refused_before_its_body_is_read(
    make_app: Callable[..., Any], headers: dict[str, str], status: int
) -> None:
    app = make_app()
    if "x-draining" in headers:
        app.state.service.queue.draining.set()
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    given = {"host": "localhost:8000", "content-type": "image/png", **headers}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/predict",
        "raw_path": b"/v1/predict",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == status

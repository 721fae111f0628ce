"""Who may ask: the token, Host, Origin and CORS, and the attacks on them."""

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
    "host",
    [
        "localhost",
        "localhost:8000",
        "127.0.0.1:8000",
        "[::1]:8000",
        "LOCALHOST.:1",
        "127.9.9.9",
        "[::ffff:127.0.0.1]",
    ],
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
        "0.0.0.0:8000",
        "[::]:8000",
        "[::ffff:192.168.0.2]",
        "127.0.0.1.:8000.evil.example",
        "localhost..evil.example",
        "faces.example",
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
        {"Origin": ""},
        {"Origin": "http://localhost"},
        {"Origin": "http://localhost:80"},
        {"Origin": "http://localhost:80000"},
        {"Origin": "http://LOCALHOST:8000"},
        {"Origin": "http://localhost.:8000"},
        {"Origin": "http://localhost:8000.evil.example"},
        {"Origin": "http://evil-localhost:8000"},
        {"Origin": "http://evil.example@localhost:8000"},
        {"Origin": "http://localhost:8000@evil.example"},
        {"Origin": "http://localhost:8000/"},
        {"Origin": "http://localhost:8000/evil"},
        {"Origin": "http://127.0.0.1:8000"},
        {"Origin": "http://[::1]:8000"},
        {"Origin": "localhost:8000"},
        {"Origin": "http://evil.example", "X-Forwarded-Host": "evil.example"},
        {"Origin": "http://evil.example", "Forwarded": "host=evil.example"},
        {"Origin": "http://localhost:8000", "Sec-Fetch-Site": "cross-site"},
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
        {"Origin": "https://localhost:8000"},
        {"Host": "localhost:443", "Origin": "https://localhost"},
        {"Host": "localhost:80", "Origin": "http://localhost"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_our_own_page_may_send_images(
    make_client: ClientMaker, photo: bytes, headers: dict[str, str]
) -> None:
    assert make_client().predict(photo, headers=headers).status_code == 200


def forbidden(response: Any) -> str:
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (403, "forbidden")
    return str(error["message"])


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "motivnet"])
def test_a_proxy_that_sends_its_own_host_is_told_both_values_and_the_line_that_mends_it(
    make_client: ClientMaker, photo: bytes, host: str
) -> None:
    headers = {"Host": host, "Origin": "https://faces.example", "Authorization": f"Bearer {TOKEN}"}
    assert forbidden(make_client(token=TOKEN).predict(photo, headers=headers)) == (
        "a page of another site may not use this service: Origin https://faces.example, "
        f"Host {host}; if a proxy is in front, have it pass on the Host that browsers send "
        "(nginx: proxy_set_header Host $http_host;), or start the service with --allowed-origin "
        "https://faces.example"
    )


def test_an_origin_that_could_not_be_allowed_is_not_proposed(
    make_client: ClientMaker, photo: bytes
) -> None:
    for origin in ("null", "https://faces.example/", "chrome-extension://a", "\x1b[31m"):
        message = forbidden(make_client().predict(photo, headers={"Origin": origin}))
        assert "--allowed-origin" not in message
        assert message.isprintable()


def test_a_foreign_host_is_told_what_the_service_answers_to(make_client: ClientMaker) -> None:
    message = forbidden(make_client().get("/", headers={"Host": "faces.example"}))
    assert "localhost, 127.0.0.1 and [::1], not to Host faces.example; start it with" in message


ALLOWED = ("https://faces.example", "http://localhost:3000")


@pytest.mark.parametrize("origin", ALLOWED)
def test_a_page_of_an_allowed_origin_may_send_images_and_read_the_answers(
    make_client: ClientMaker, photo: bytes, origin: str
) -> None:
    client = make_client(token=TOKEN, allowed_origins=ALLOWED)
    headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
    authorised = {**headers, "Authorization": f"Bearer {TOKEN}", "X-Request-Id": "7"}
    for response, status in (
        (client.predict(photo, headers=authorised), 200),
        (client.predict(b"no image", headers=authorised), 422),
        (client.predict(photo, headers=headers), 401),
        (client.get("/v1/model", headers=authorised), 200),
        (client.get("/nothing", headers=authorised), 404),
    ):
        assert response.status_code == status
        assert response.headers["access-control-allow-origin"] == origin
        assert response.headers["vary"] == "Origin"
        assert "X-Request-Id" in response.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in response.headers


def preflight(client: Any, origin: str, path: str = "/v1/predict") -> Any:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
        "Sec-Fetch-Site": "cross-site",
    }
    return client.request("OPTIONS", path, headers=headers)


def test_the_preflight_of_an_allowed_origin_is_answered_without_a_token(
    make_client: ClientMaker,
) -> None:
    response = preflight(make_client(token=TOKEN, allowed_origins=ALLOWED), ALLOWED[0])
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["access-control-allow-origin"] == ALLOWED[0]
    assert response.headers["access-control-allow-methods"] == "GET, HEAD, POST"
    allowed = response.headers["access-control-allow-headers"].lower().split(", ")
    assert {"authorization", "content-type", "x-deadline-ms", "x-request-id"} == set(allowed)
    assert response.headers["vary"] == "Origin"
    assert response.headers["x-request-id"]


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "*",
        "",
        "http://faces.example",
        "https://faces.example:443",
        "https://faces.example:8443",
        "https://faces.example.",
        "https://faces.example/",
        "https://FACES.EXAMPLE",
        "https://faces.example.evil.example",
        "https://evil-faces.example",
        "https://evil.faces.example",
        "https://faces.example@evil.example",
        "https://evil.example@faces.example",
        "https://faces.example\tevil.example",
        "https://faces.example,https://evil.example",
        "https://localhost:3000",
        "http://localhost",
        "http://[::1]:3000",
    ],
)
def test_no_other_origin_is_answered(make_client: ClientMaker, photo: bytes, origin: str) -> None:
    client = make_client(token=TOKEN, allowed_origins=ALLOWED)
    headers = {"Origin": origin, "Authorization": f"Bearer {TOKEN}"}
    for response in (client.predict(photo, headers=headers), preflight(client, origin)):
        assert forbidden(response)
        assert "access-control-allow-origin" not in response.headers
    # A page may always ask with GET, and never read the answer.
    response = client.get("/v1/model", headers=headers)
    assert (response.status_code, response.headers["vary"]) == (200, "Origin")
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://localhost:8000"}])
def test_what_only_looks_like_a_preflight_needs_the_token(
    make_client: ClientMaker, headers: dict[str, str]
) -> None:
    client = make_client(token=TOKEN, allowed_origins=ALLOWED)
    asked = {"Access-Control-Request-Method": "POST", **headers}
    assert client.request("OPTIONS", "/v1/predict", headers=asked).status_code == 401


def test_without_allowed_origins_nothing_is_said_of_cors(
    make_client: ClientMaker, photo: bytes
) -> None:
    client = make_client()
    own = client.request("OPTIONS", "/v1/predict", headers={"Origin": "http://localhost:8000"})
    assert (own.status_code, own.headers["allow"]) == (405, "POST")
    assert forbidden(preflight(client, "https://faces.example"))
    for response in (own, client.predict(photo), client.get("/")):
        assert not [name for name in response.headers if name.startswith("access-control")]
        assert "vary" not in response.headers


def test_an_allowed_origin_opens_no_other_host(make_client: ClientMaker, photo: bytes) -> None:
    client = make_client(allowed_origins=ALLOWED)
    headers = {"Host": "faces.example", "Origin": "https://faces.example"}
    refused = forbidden(client.predict(photo, headers=headers))
    assert "answers only to localhost" in refused
    assert "nginx: proxy_set_header Host $http_host;" in refused
    assert client.predict(photo, headers={"Origin": ALLOWED[0]}).status_code == 200


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

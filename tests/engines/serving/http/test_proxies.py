"""The configurations of docs/serving.md in nginx and Caddy themselves, in front of the service."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ..reliability.proxies import NAME, free_port, program_of, proxy_before

TOKEN = "0123456789abcdef0123456789abcdef"
pytestmark = pytest.mark.process
Start = Callable[..., "Site"]


class Site:
    """The service through a proxy, as a browser at https://emotions.example asks for it."""

    def __init__(self, port: int, certificate: Path) -> None:
        self.origin = f"https://{NAME}:{port}"
        context = ssl.create_default_context(cafile=str(certificate))
        self._http = httpx.Client(verify=context, base_url=f"https://127.0.0.1:{port}")
        self._headers = {"Host": f"{NAME}:{port}", "Authorization": f"Bearer {TOKEN}"}

    def get(self, path: str) -> httpx.Response:
        return self._request("GET", path, {})

    def predict(self, photo: bytes, **headers: str) -> httpx.Response:
        given = {"Origin": self.origin, "Content-Type": "image/png", **headers}
        return self._request("POST", "/faces/v1/predict", given, content=photo)

    def close(self) -> None:
        self._http.close()

    def _request(
        self, method: str, path: str, headers: dict[str, str], **options: Any
    ) -> httpx.Response:
        given = {**self._headers, **headers}
        extensions = {"sni_hostname": NAME}
        return self._http.request(method, path, headers=given, extensions=extensions, **options)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of emotions.example; its key is beside it, with the suffix .key."""
    file = tmp_path_factory.mktemp("tls") / "site.pem"
    options = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    options += ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}", "-days", "2"]
    subprocess.run(
        ["openssl", "req", *options, "-out", file, "-keyout", file.with_suffix(".key")],
        check=True,
        capture_output=True,
    )
    return file


@pytest.fixture
def start(
    make_app: Callable[..., Any], running: Callable[..., Any], certificate: Path, tmp_path: Path
) -> Iterator[Start]:
    """A function that starts the service and a proxy, whose configuration may be changed."""
    with contextlib.ExitStack() as stack:

        def started(proxy: str, *changes: tuple[str, str], **settings: Any) -> Site:
            if program_of(proxy) is None:
                pytest.skip(f"needs {proxy}")
            app, port = make_app(token=TOKEN, root_path="/faces", **settings), free_port()
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            stack.enter_context(running(app, listener, connections=256))
            behind = proxy_before(
                listener.getsockname()[1],
                proxy=proxy,
                port=port,
                folder=tmp_path,
                certificate=certificate,
                changes=changes,
            )
            stack.enter_context(behind)
            return stack.enter_context(contextlib.closing(Site(port, certificate)))

        yield started


@pytest.mark.parametrize("proxy", ["nginx", "caddy"])
def test_the_documented_proxy_shows_the_service_under_its_path(
    start: Start, photo: bytes, proxy: str
) -> None:
    site = start(proxy)
    assert "<title>MotivNet</title>" in site.get("/faces/").text
    for path in ("/faces/page/main.js", "/faces/healthz", "/faces/v1/model"):
        assert site.get(path).status_code == 200
    moved = site.get("/faces")
    assert moved.status_code in (301, 308)
    assert moved.headers["location"] in ("/faces/", f"{site.origin}/faces/")
    assert site.get("/faces/openapi.json").json()["servers"] == [{"url": "/faces"}]
    answer = site.predict(photo)
    assert (answer.status_code, answer.json()["images"][0]["error"]) == (200, None)
    assert site.predict(photo, **{"X-Request-Id": "mine"}).headers["x-request-id"] != "mine"


@pytest.mark.parametrize("proxy", ["nginx", "caddy"])
def test_the_documented_proxy_keeps_out_what_it_should(
    start: Start, photo: bytes, proxy: str
) -> None:
    site = start(proxy)
    for path in ("/faces/metrics", "/faces//metrics", "/faces/%6detrics", "/faces/./metrics"):
        assert site.get(path).status_code == 403
    for path in ("/metrics", "/v1/model", "/"):
        assert "x-request-id" not in site.get(path).headers
    for origin in ("https://evil.example", f"https://{NAME}", "null"):
        assert site.predict(photo, Origin=origin).status_code == 403
    assert site.predict(photo, Authorization="Bearer wrong").status_code == 401
    assert site.predict(bytes(22_000_000)).status_code == 413


HOST = "proxy_set_header Host $http_host;"


def test_nginx_as_it_comes_is_told_the_line_that_it_lacks(start: Start, photo: bytes) -> None:
    site = start("nginx", (HOST, ""))
    assert site.get("/faces/").status_code == 200
    refused = site.predict(photo)
    assert refused.status_code == 403
    message = refused.json()["error"]["message"]
    assert f"Origin {site.origin}, Host motivnet; " in message
    assert f"(nginx: {HOST}), or start the service with --allowed-origin {site.origin}" in message


def test_an_allowed_origin_does_without_that_line(start: Start, photo: bytes) -> None:
    site = start("nginx", (HOST, ""), allowed_origins=("https://emotions.example",))
    assert site.predict(photo, Origin="https://emotions.example").status_code == 200
    assert site.predict(photo, Origin="https://evil.example").status_code == 403


def test_a_proxy_may_take_the_path_off(start: Start, photo: bytes) -> None:
    site = start("nginx", ("proxy_pass http://motivnet;", "proxy_pass http://motivnet/;"))
    assert site.get("/faces/page/main.js").status_code == 200
    assert site.predict(photo).status_code == 200

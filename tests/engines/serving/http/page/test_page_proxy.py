"""The page under the path of a proxy, and the service used by a page of another site."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

TOKEN = "0123456789abcdef0123456789abcdef"
FACE = (60, 80, 160, 200)

Server = Callable[..., Any]
PageOpener = Callable[..., Page]
Painter = Callable[..., Path]


def test_the_page_works_under_a_path_and_keeps_its_token_apart(
    serve: Server, open_page: PageOpener, paint: Painter
) -> None:
    service = serve(root_path="/faces", token=TOKEN)
    page = open_page(service)
    page.goto(f"{service.url}faces")  # without the slash
    assert page.url == f"{service.url}faces/"
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_label("Token").press("Enter")
    expect(page.locator("#model")).to_contain_text("fake")
    page.locator("#file").set_input_files(paint(FACE))
    expect(page.locator("#summary")).to_have_text("One face")
    page.goto(service.url)  # as if it were another service of the same host
    expect(page.locator("#problem-title")).to_have_text("This server asks for a token")


ASK = """async ([url, token]) => {
    const headers = { Authorization: `Bearer ${token}`, "X-Request-Id": "mine" };
    const form = new FormData();
    form.append("image", new Blob(["no image"]));
    const answer = await fetch(`${url}v1/predict`, { method: "POST", headers, body: form });
    const { error } = await answer.json();
    return [answer.status, error.code, answer.headers.get("X-Request-Id")];
}"""


class OtherSite(BaseHTTPRequestHandler):
    """An empty page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def other_site() -> Iterator[int]:
    """The port of another site of this machine: Chromium lets no other ask this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), OtherSite) as site:
        threading.Thread(target=site.serve_forever).start()
        yield site.server_port
        site.shutdown()


def test_only_a_page_of_an_allowed_origin_reads_the_answers(
    browser: Browser, serve: Server, other_site: int
) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        service = serve(token=TOKEN, allowed_origins=(f"http://localhost:{other_site}",))
        page.goto(f"http://localhost:{other_site}/")
        assert page.evaluate(ASK, [service.url, TOKEN]) == [422, "bad_image", "mine"]
        page.goto(f"http://127.0.0.1:{other_site}/")
        refused = page.evaluate(f"given => ({ASK})(given).catch(String)", [service.url, TOKEN])
        assert refused == "TypeError: Failed to fetch"

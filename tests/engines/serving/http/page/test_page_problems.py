"""What a person is told when a picture gets no result, and that the page continues."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

pytestmark = pytest.mark.browser

PageOpener = Callable[..., Page]
Painter = Callable[..., Path]
Server = Callable[..., Any]

FACE = (100, 120, 200, 240)
TOKEN = "a-token-of-some-length"


def choose(page: Page, picture: Path) -> None:
    page.locator("#file").set_input_files(picture)


def expect_problem(page: Page, title: str, advice: str = "") -> None:
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text(title)
    expect(alert).to_contain_text(advice)


def expect_result(page: Page) -> None:
    expect(page.locator("#summary")).to_have_text("One face")
    expect(page.locator("#problem")).to_be_hidden()


def predictions(page: Page) -> list[str]:
    """The predictions that the page asks for from now on."""
    asked: list[str] = []
    page.on(
        "request",
        lambda request: asked.append(request.url) if request.url.endswith("/v1/predict") else None,
    )
    return asked


def test_a_damaged_picture_cannot_be_read_and_the_next_can(
    page: Page, paint: Painter, tmp_path: Path
) -> None:
    whole = paint(FACE)
    (tmp_path / "damaged.png").write_bytes(whole.read_bytes()[:200])
    choose(page, tmp_path / "damaged.png")
    expect_problem(page, "This picture cannot be read", "save it as JPEG or PNG")
    expect(page.get_by_role("button", name="Try again")).to_be_hidden()
    choose(page, whole)
    expect_result(page)


@pytest.mark.parametrize(
    ("name", "content", "title"),
    [
        ("notes.txt", b"hello", "This is not a picture"),
        ("film.mp4", b"hello", "This is not a picture"),
        ("empty.png", b"", "This picture cannot be read"),
    ],
)
def test_what_is_no_picture_is_not_sent(
    page: Page, tmp_path: Path, name: str, content: bytes, title: str
) -> None:
    asked = predictions(page)
    (tmp_path / name).write_bytes(content)
    choose(page, tmp_path / name)
    expect_problem(page, title, name)
    assert asked == []


def test_text_by_the_name_of_a_picture_is_refused_by_the_server(page: Page, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("hello")
    choose(page, tmp_path / "notes.png")
    expect_problem(page, "This picture cannot be read")


def test_a_picture_above_the_servers_limit_is_not_sent(
    serve: Server, open_page: PageOpener, paint: Painter
) -> None:
    page = open_page(serve(max_body_bytes=1000))
    asked = predictions(page)
    choose(page, paint(FACE))
    expect_problem(page, "This picture is too large", "This server takes up to")
    assert asked == []


def test_an_answer_of_413_says_that_the_picture_is_too_large(
    serve: Server, open_page: PageOpener, paint: Painter
) -> None:
    page = open_page(serve(max_body_bytes=1000), script=WITHOUT_LIMITS)
    choose(page, paint(FACE))
    expect_problem(page, "This picture is too large")


WITHOUT_LIMITS = """
    const json = Response.prototype.json;
    Response.prototype.json = async function () {
        return { ...(await json.call(this)), limits: undefined };
    };
"""


def test_a_busy_server_is_asked_again_by_button(
    serve: Server, open_page: PageOpener, paint: Painter
) -> None:
    service = serve(queue=1)
    page = open_page(service)
    picture = paint(FACE)
    service.detector.free.clear()
    with_place = threading.Thread(
        target=lambda: httpx.post(f"{service.url}v1/predict", **request_of(picture))
    )
    with_place.start()
    assert service.detector.called.wait(10)
    choose(page, picture)
    expect_problem(page, "The server is busy", "Try again in a moment.")
    service.detector.free.set()
    with_place.join()
    page.get_by_role("button", name="Try again").click()
    expect_result(page)


def request_of(picture: Path) -> dict[str, Any]:
    return {
        "content": picture.read_bytes(),
        "headers": {"Content-Type": "image/png"},
        "timeout": 30,
    }


def test_a_late_answer_is_told_of(serve: Server, open_page: PageOpener, paint: Painter) -> None:
    service = serve(deadline_ms=200)
    page = open_page(service)
    service.detector.free.clear()
    choose(page, paint(FACE))
    expect_problem(page, "The server had no time for this picture")


def test_a_server_that_is_gone_is_told_of_and_asked_again(
    serve: Server, open_page: PageOpener, paint: Painter
) -> None:
    service = serve()
    page = open_page(service)
    service.stop()
    choose(page, paint(FACE))
    expect_problem(page, "The server does not answer", "Check that it is running")
    serve(port=service.port)
    page.get_by_role("button", name="Try again").click()
    expect_result(page)


def test_a_failure_of_the_server_is_told_of(page: Page, paint: Painter) -> None:
    page.route(
        "**/v1/predict", lambda route: route.fulfill(status=500, body="Internal Server Error")
    )
    choose(page, paint(FACE))
    expect_problem(page, "Something went wrong in the server")


@pytest.mark.parametrize(
    ("code", "title"),
    [
        ("failed", "The server could not work on this picture"),
        ("too_many_headers", "The browser sent too much beside the picture"),
        ("not_found", "The server does not have what this page asked for"),
        ("wrong_method", "The server does not understand the request"),
        ("of_a_later_version", "Something went wrong in the server"),
    ],
)
def test_every_refusal_of_the_server_is_explained(
    page: Page, paint: Painter, code: str, title: str
) -> None:
    error = {"code": code, "message": "what the server says", "request": "id-7"}
    page.route("**/v1/predict", lambda route: route.fulfill(status=500, json={"error": error}))
    choose(page, paint(FACE))
    expect_problem(page, title, "under id-7" if code == "failed" else "What the server says.")


def test_a_server_with_a_token_asks_for_it_at_once(serve: Server, open_page: PageOpener) -> None:
    page = open_page(serve(token=TOKEN))
    expect_problem(page, "This server asks for a token")
    expect(page.get_by_label("Token")).to_be_focused()


def test_the_token_opens_the_service(serve: Server, open_page: PageOpener, paint: Painter) -> None:
    page = open_page(serve(token=TOKEN))
    enter(page, TOKEN)
    expect(page.locator("#model")).to_contain_text("fake")
    choose(page, paint(FACE))
    expect_result(page)


def test_a_picture_that_was_refused_is_read_once_the_token_is_given(
    serve: Server, open_page: PageOpener, paint: Painter
) -> None:
    page = open_page(serve(token=TOKEN))
    choose(page, paint(FACE))
    expect_problem(page, "This server asks for a token")
    enter(page, TOKEN)
    expect_result(page)


def test_a_wrong_token_is_told_of_and_forgotten(serve: Server, open_page: PageOpener) -> None:
    page = open_page(serve(token=TOKEN))
    enter(page, "not-the-right-token")
    expect_problem(page, "The server does not accept this token")
    expect(page.get_by_label("Token")).to_be_focused()
    assert page.evaluate("sessionStorage.length") == 0


def test_the_token_is_kept_in_the_tab_and_nowhere_else(
    serve: Server, open_page: PageOpener
) -> None:
    page = open_page(serve(token=TOKEN))
    enter(page, TOKEN)
    expect(page.locator("#model")).to_contain_text("fake")
    page.reload()
    expect(page.locator("#model")).to_contain_text("fake")
    assert page.evaluate("Object.values(sessionStorage)") == [TOKEN]
    assert page.evaluate("localStorage.length") == 0
    assert page.context.cookies() == []
    assert page.get_by_label("Token").input_value() == ""


def enter(page: Page, token: str) -> None:
    page.get_by_label("Token").fill(token)
    page.get_by_label("Token").press("Enter")


def test_a_script_that_somebody_brought_into_the_page_is_refused(
    browser: Browser, service: Any
) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(service.url)
        with page.expect_console_message(lambda message: "Content Security Policy" in message.text):
            page.evaluate(BRING_IN_A_SCRIPT)
        assert page.title() == "MotivNet"


BRING_IN_A_SCRIPT = """() => {
    const script = document.createElement("script");
    script.textContent = "document.title = 'taken over'";
    document.body.append(script);
}"""

"""The camera: frames one after the other, its end, and what is said if it cannot be used."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

pytestmark = pytest.mark.browser

PageOpener = Callable[..., Page]
Painter = Callable[..., Path]

# Keeps what the page was given by the camera, so that a test can look at it after the page has let
# go of it.
REMEMBER_STREAMS = """
    window.streams = [];
    const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (wanted) => {
        const stream = await open(wanted);
        window.streams.push(stream);
        return stream;
    };
"""


@pytest.fixture
def page(service: Any, open_page: PageOpener) -> Page:
    return open_page(service, script=REMEMBER_STREAMS)


def start(page: Page) -> None:
    page.get_by_role("button", name="Turn on the camera").click()
    expect(heading(page)).to_have_text("One face")


def stop(page: Page) -> None:
    page.get_by_role("button", name="Stop the camera").click()


def heading(page: Page) -> Locator:
    return page.locator("#summary")


def light_is_on(page: Page) -> bool:
    tracks = "window.streams.flatMap((stream) => stream.getTracks())"
    return bool(page.evaluate(f"{tracks}.some((track) => track.readyState === 'live')"))


@contextmanager
def counted(page: Page) -> Iterator[dict[str, int]]:
    """How many predictions were asked for, answered, and under way at once."""
    counts = {"asked": 0, "answered": 0, "at once": 0}

    def asked(request: Any) -> None:
        if request.url.endswith("/v1/predict"):
            counts["asked"] += 1
            counts["at once"] = max(counts["at once"], counts["asked"] - counts["answered"])

    def answered(request: Any) -> None:
        counts["answered"] += request.url.endswith("/v1/predict")

    page.on("request", asked)
    page.on("requestfinished", answered)
    page.on("requestfailed", answered)
    yield counts
    page.remove_listener("request", asked)


def wait_for(page: Page, condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        page.wait_for_timeout(20)
    pytest.fail("it did not happen within twenty seconds")


def test_frames_are_read_one_after_the_other_until_it_is_stopped(page: Page) -> None:
    with counted(page) as counts:
        start(page)
        wait_for(page, lambda: counts["answered"] >= 4)
        assert light_is_on(page)
        stop(page)
        expect(page.get_by_role("button", name="Turn on the camera")).to_be_visible()
        asked = counts["asked"]
        page.wait_for_timeout(300)
    assert counts["at once"] == 1
    assert counts["asked"] == asked
    assert not light_is_on(page)


def test_what_was_read_last_stays_when_it_is_stopped(page: Page) -> None:
    start(page)
    stop(page)
    expect(
        page.get_by_text("The camera is off. This is the last picture that was read.")
    ).to_be_visible()
    expect(page.get_by_role("img", name="The last picture of the camera")).to_be_visible()
    expect(page.locator("video")).to_be_hidden()
    expect(page.locator(".box")).to_have_count(1)
    expect(heading(page)).to_have_text("One face")


def test_it_can_be_turned_on_again(page: Page) -> None:
    start(page)
    stop(page)
    start(page)
    assert light_is_on(page)


def test_people_see_themselves_as_in_a_mirror_with_the_box_in_its_place(page: Page) -> None:
    start(page)
    video, box = page.locator("video").bounding_box(), page.locator(".box").bounding_box()
    assert video
    assert box
    # The face is at 100 to 300 of 640 pixels, from the other side.
    left = (box["x"] - video["x"]) / video["width"]
    assert left == pytest.approx((640 - 300) / 640, abs=0.02)
    assert (
        page.locator("video").evaluate("video => getComputedStyle(video).transform")
        == "matrix(-1, 0, 0, 1, 0, 0)"
    )


def test_the_rate_is_shown(page: Page) -> None:
    start(page)
    rate = page.locator("#timing > div", has_text="Pictures / s").get_by_role("definition")
    expect(rate).to_have_text(re.compile(r"^\d+\.\d$"))


def test_a_chosen_picture_turns_the_camera_off(page: Page, paint: Painter) -> None:
    start(page)
    page.locator("#file").set_input_files(paint())
    expect(heading(page)).to_have_text("No face found")
    expect(page.get_by_role("button", name="Turn on the camera")).to_be_visible()
    wait_for(page, lambda: not light_is_on(page))


def test_a_tab_in_the_background_sends_nothing(page: Page) -> None:
    with counted(page) as counts:
        start(page)
        page.evaluate(
            "Object.defineProperty(document, 'hidden', { value: true, configurable: true })"
        )
        wait_for(page, lambda: counts["asked"] == counts["answered"])
        page.wait_for_timeout(200)
        asked = counts["asked"]
        page.wait_for_timeout(300)
        assert counts["asked"] == asked
        page.evaluate(
            "delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))"
        )
        wait_for(page, lambda: counts["asked"] > asked)


def test_a_busy_server_is_waited_for(serve: Callable[..., Any], open_page: PageOpener) -> None:
    service = serve(queue=1)
    page = open_page(service, script=REMEMBER_STREAMS)
    start(page)
    page.route(
        "**/v1/predict",
        lambda route: route.fulfill(status=503, headers={"Retry-After": "3"}, json=OVERLOADED),
    )
    expect(page.get_by_text("The server is busy")).to_be_visible()
    expect(page.get_by_text("The camera continues as soon as it can.")).to_be_visible()
    expect(page.get_by_role("button", name="Try again")).to_be_hidden()
    with counted(page) as counts:
        page.wait_for_timeout(1000)
    assert counts["asked"] == 0
    page.unroute("**/v1/predict")
    expect(page.locator("#problem")).to_be_hidden()
    assert light_is_on(page)


OVERLOADED = {"error": {"code": "overloaded", "message": "too many requests at once; try again"}}


def test_a_server_that_is_gone_is_asked_again_until_it_is_back(
    serve: Callable[..., Any], open_page: PageOpener
) -> None:
    service = serve()
    page = open_page(service, script=REMEMBER_STREAMS)
    start(page)
    service.stop()
    expect(page.get_by_text("The server does not answer")).to_be_visible()
    serve(port=service.port)
    expect(page.locator("#problem")).to_be_hidden()
    assert light_is_on(page)


def test_a_server_that_stays_away_turns_the_camera_off(page: Page) -> None:
    start(page)
    page.clock.install()
    page.route("**/v1/predict", lambda route: route.abort())
    page.clock.run_for(1)
    expect(page.get_by_text("The server does not answer")).to_be_visible()
    for _ in range(10):
        page.clock.run_for(9000)
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    assert not light_is_on(page)


def test_a_camera_that_is_unplugged_is_told_of(page: Page) -> None:
    start(page)
    page.evaluate(
        "window.streams.flatMap((stream) => stream.getTracks()).forEach((track) => track.stop())"
    )
    expect(page.get_by_text("The camera was disconnected")).to_be_visible()
    expect(page.get_by_role("button", name="Turn on the camera")).to_be_visible()


@pytest.mark.parametrize(
    ("options", "title"),
    [
        (("--use-fake-ui-for-media-stream",), "No camera was found"),
        (
            ("--use-fake-device-for-media-stream", "--deny-permission-prompts"),
            "The camera is not allowed",
        ),
    ],
)
def test_a_camera_that_cannot_be_had_is_explained(
    service: Any,
    open_page: PageOpener,
    launch: Callable[..., Browser],
    options: tuple[str, ...],
    title: str,
) -> None:
    page = open_page(service, browser=launch(*options))
    page.get_by_role("button", name="Turn on the camera").click()
    expect(page.get_by_role("alert")).to_contain_text(title)
    expect(page.get_by_role("button", name="Turn on the camera")).to_be_visible()
    expect(page.locator("#hint")).to_be_visible()


def test_an_address_where_browsers_give_no_camera_is_explained(
    service: Any, open_page: PageOpener
) -> None:
    page = open_page(
        service, script="Object.defineProperty(navigator, 'mediaDevices', { value: undefined })"
    )
    page.get_by_role("button", name="Turn on the camera").click()
    expect(page.get_by_role("alert")).to_contain_text("only over https or on this computer")

"""The page without a server: pictures, the camera, the verdict, and no connection."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
from playwright.sync_api import Browser, Page, Request, expect

from motivnet.synthetic import draw_face

pytestmark = pytest.mark.browser

Tab = Callable[..., Page]

PATIENCE = 30_000


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "face.png"
    assert cv2.imwrite(str(path), draw_face("happiness", seed=1, size=(400, 300))[..., ::-1])
    return path


def verified(page: Page) -> Page:
    expect(page.locator("#verdict")).to_have_text(
        re.compile(r"^Verified here: 4 reference samples, largest difference \d\.\de-\d"),
        timeout=PATIENCE,
    )
    return page


def test_a_picture_gets_boxes_and_bars(server: Any, open_tab: Tab, picture: Path) -> None:
    page = verified(open_tab(server.url))
    expect(page.locator("#model")).to_contain_text("WebAssembly (")
    page.locator("#file").set_input_files(picture)
    expect(page.locator("#summary")).to_have_text("One face", timeout=PATIENCE)
    expect(page.locator(".box")).to_have_count(1)
    expect(page.locator(".card tr")).to_have_count(7)
    expect(page.locator("#timing")).not_to_contain_text("Network")
    expect(page.get_by_text("Nothing leaves this device.")).to_be_visible()


def test_the_camera_runs_with_a_timeline_until_it_is_stopped(server: Any, open_tab: Tab) -> None:
    page = verified(open_tab(server.url))
    page.get_by_role("button", name="Turn on the camera").click()
    expect(page.locator("#summary")).to_have_text("Two faces", timeout=PATIENCE)
    expect(
        page.get_by_role("img", name=re.compile(r"^On average: \w+ \d+ percent"))
    ).to_be_visible()
    expect(page.locator("#legend > li")).to_have_count(7)
    rate = page.locator("#timing > div", has_text="Pictures / s").get_by_role("definition")
    expect(rate).to_have_text(re.compile(r"^\d+\.\d$"))
    page.get_by_role("button", name="Stop the camera").click()
    expect(page.get_by_role("img", name="The last picture of the camera")).to_be_visible()
    expect(page.locator(".box")).to_have_count(2)


def test_a_refusal_is_said_and_the_page_lives_on(
    own_folder: Path, serve_folder: Any, open_tab: Tab, picture: Path
) -> None:
    (own_folder / "model.onnx").write_bytes(b"exchanged")
    with serve_folder(own_folder) as server:
        page = open_tab(server.url)
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text("A file of this page is not as it was", timeout=PATIENCE)
        expect(alert).to_contain_text("The file model.onnx is not the one")
        expect(page.locator("#verdict")).to_contain_text("Not verified")
        page.locator("#file").set_input_files(picture)
        expect(page.locator("#summary")).to_have_text("No result", timeout=PATIENCE)
        expect(alert).to_contain_text("The file model.onnx is not the one")


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
def test_a_camera_that_cannot_be_had_is_explained_and_a_picture_read(
    server: Any,
    open_tab: Tab,
    launch: Callable[..., Browser],
    picture: Path,
    options: tuple[str, ...],
    title: str,
) -> None:
    page = verified(open_tab(server.url, browser=launch(*options)))
    page.get_by_role("button", name="Turn on the camera").click()
    expect(page.get_by_role("alert")).to_contain_text(title)
    page.locator("#file").set_input_files(picture)
    expect(page.locator("#summary")).to_have_text("One face", timeout=PATIENCE)


def test_after_the_first_visit_no_connection_is_needed(
    web_folder: Path, serve_folder: Any, open_tab: Tab, picture: Path
) -> None:
    requests: list[str] = []
    with serve_folder(web_folder, isolated=False) as server:
        page = open_tab(server.url)
        page.on("request", lambda sent: requests.append(address(sent)))
        expect(page.locator("#offline")).to_contain_text(
            "works without a connection", timeout=PATIENCE
        )
        verified(page)  # until then this visit asks for files
        server.asked.clear()
        page.reload()
        verified(page)
        # The browser itself looks for a newer service worker, and nothing else.
        assert set(server.asked) <= {"/service-worker.js", "/version.js"}
        url = server.url
    page.reload()
    verified(page)
    expect(page.locator("#model")).not_to_contain_text("1 thread")  # isolated by the worker
    page.locator("#file").set_input_files(picture)
    expect(page.locator("#summary")).to_have_text("One face", timeout=PATIENCE)
    assert all(each.startswith((url, f"blob:{url}")) for each in requests)


def address(request: Request) -> str:
    return request.url


def test_a_new_build_of_the_folder_takes_the_place_of_the_old(
    own_folder: Path, redescribed: Any, serve_folder: Any, open_tab: Tab
) -> None:
    with serve_folder(own_folder) as server:
        page = open_tab(server.url)
        expect(page.locator("#offline")).to_contain_text(
            "works without a connection", timeout=PATIENCE
        )
        redescribed(own_folder, name="a newer model")
        context = page.context
        for _ in range(20):
            page.close()
            page = context.new_page()
            page.goto(server.url)
            verified(page)
            if "a newer model" in page.locator("#model").inner_text():
                break
            page.wait_for_timeout(500)
        expect(page.locator("#model")).to_contain_text("a newer model")


def test_the_policy_lets_nothing_but_the_folder_be_run(server: Any, open_tab: Tab) -> None:
    page = verified(open_tab(server.url))
    policy = page.locator("meta[http-equiv=Content-Security-Policy]").get_attribute("content")
    assert policy is not None
    assert "default-src 'self'" in policy
    assert "unsafe-inline" not in policy
    assert "'unsafe-eval'" not in policy
    assert page.locator("script:not([src])").count() == 0
    assert page.locator("[style]:not(.bar):not(.box):not(#frame)").count() == 0


def test_the_policy_is_in_force(server: Any, browser: Browser) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(server.url)
    refused = page.evaluate(
        """() => new Promise((resolve) => {
            const refused = (event) => resolve(event.blockedURI);
            document.addEventListener("securitypolicyviolation", refused);
            fetch("http://127.0.0.1:9/elsewhere").catch(() => undefined);
        })"""
    )
    context.close()
    assert refused.startswith("http://127.0.0.1:9/")


def test_it_can_be_installed(server: Any, open_tab: Tab, web_folder: Path) -> None:
    page = open_tab(server.url)
    link = page.locator("link[rel=manifest]").get_attribute("href")
    manifest = json.loads((web_folder / str(link)).read_text())
    assert manifest["display"] == "standalone"
    assert manifest["start_url"] == "./"
    assert all((web_folder / icon["src"]).is_file() for icon in manifest["icons"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_320_pixels(server: Any, open_tab: Tab, scheme: str) -> None:
    page = verified(
        open_tab(server.url, viewport={"width": 320, "height": 640}, color_scheme=scheme)
    )
    page.get_by_role("button", name="Turn on the camera").click()
    expect(page.locator("#summary")).to_have_text("Two faces", timeout=PATIENCE)
    assert page.evaluate("document.documentElement.scrollWidth") == 320


def test_everything_can_be_reached_by_keyboard(server: Any, open_tab: Tab) -> None:
    page = verified(open_tab(server.url))
    names = []
    for _ in range(2):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.textContent.trim()"))
    assert names == ["Choose a picture", "Turn on the camera"]
    page.keyboard.press("Enter")
    expect(page.locator("#summary")).to_have_text("Two faces", timeout=PATIENCE)
    expect(page.locator("#announcement")).to_contain_text("Two faces", timeout=PATIENCE)

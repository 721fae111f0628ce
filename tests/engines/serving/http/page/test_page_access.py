"""The page by keyboard, by screen reader, on a phone, in the dark, and without movement."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

PageOpener = Callable[..., Page]
Painter = Callable[..., Path]

FACE = (100, 120, 200, 240)
OTHER = (400, 60, 160, 200)

# The contrast of every text that is shown with what is behind it, after WCAG 2.2.
CONTRASTS = """() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const luminance = (colour) => {
        const [red, green, blue] = rgba(colour).map((value) => {
            const share = value / 255;
            return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const behind = (element) => {
        const colour = getComputedStyle(element).backgroundColor;
        return rgba(colour)[3] === 255 ? colour : behind(element.parentElement);
    };
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const found = {};
    while (texts.nextNode()) {
        const element = texts.currentNode.parentElement;
        const text = texts.currentNode.textContent.trim();
        if (!text || !element.checkVisibility() || element.closest("noscript")) continue;
        const colours = [getComputedStyle(element).color, behind(element)];
        const [low, high] = colours.map(luminance).sort((a, b) => a - b);
        found[text] = (high + 0.05) / (low + 0.05);
    }
    return found;
}"""


def read(page: Page, picture: Path) -> None:
    page.locator("#file").set_input_files(picture)
    expect(page.get_by_role("table").first).to_be_visible()


def set_probabilities(page: Page, known: bool = True) -> None:
    def through(route: Any) -> None:
        answer = route.fetch()
        body = answer.json()
        for face, label in zip(body["images"][0]["faces"], ("happiness", "anger"), strict=False):
            face["probabilities"] = {**dict.fromkeys(face["probabilities"], 0.01), label: 0.934}
            face.update(label=label if known else "unknown", known=known, confidence=0.934)
        route.fulfill(response=answer, json=body)

    page.route("**/v1/predict", through)


def test_a_picture_and_the_camera_by_keyboard_alone(page: Page, paint: Painter) -> None:
    picture = paint(FACE)
    page.on("filechooser", lambda chooser: chooser.set_files(picture))
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Choose a picture")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#summary")).to_have_text("One face")
    page.keyboard.press("Tab")
    camera = page.locator("#camera")
    expect(camera).to_be_focused()
    page.keyboard.press("Space")
    expect(camera).to_have_text("Stop the camera")
    expect(page.get_by_text("Pictures / s")).to_be_visible()
    page.keyboard.press("Enter")
    expect(camera).to_have_text("Turn on the camera")
    expect(camera).to_be_focused()


def test_the_focus_is_seen(page: Page) -> None:
    for name in ("choose", "camera"):
        page.keyboard.press("Tab")
        outline = page.locator(f"#{name}").evaluate("element => getComputedStyle(element).outline")
        assert "3px" in outline
        assert "solid" in outline


def test_the_focus_is_not_lost_with_the_button_that_had_it(page: Page, paint: Painter) -> None:
    page.route("**/v1/predict", lambda route: route.abort())
    page.locator("#file").set_input_files(paint(FACE))
    page.get_by_role("button", name="Try again").focus()
    page.unroute("**/v1/predict")
    page.keyboard.press("Enter")
    expect(page.locator("#summary")).to_have_text("One face")
    expect(page.locator("#summary")).to_be_focused()


@pytest.mark.parametrize(
    ("boxes", "known", "said"),
    [
        ((FACE,), True, "One face: happiness, 93 percent."),
        ((FACE, OTHER), True, "Two faces: happiness, 93 percent; anger, 93 percent."),
        ((FACE,), False, "One face: unknown, closest to happiness, 93 percent."),
        ((), True, "No face found."),
    ],
)
def test_the_result_is_said_in_a_sentence(
    page: Page, paint: Painter, boxes: Any, known: bool, said: str
) -> None:
    set_probabilities(page, known)
    page.locator("#file").set_input_files(paint(*boxes))
    expect(page.get_by_role("status")).to_have_text(said)


def test_the_camera_does_not_talk_without_a_break(page: Page) -> None:
    page.evaluate("""() => {
        window.said = 0;
        const region = document.querySelector("#announcement");
        const observer = new MutationObserver(() => { window.said += 1; });
        observer.observe(region, { childList: true, characterData: true });
    }""")
    page.locator("#camera").click()
    expect(page.locator("#summary")).to_have_text("One face")
    page.wait_for_timeout(1000)
    assert page.evaluate("window.said") == 2  # that it is being turned on, and what it sees


def test_a_screen_reader_finds_its_way(page: Page, paint: Painter) -> None:
    set_probabilities(page)
    read(page, paint(FACE))
    expect(page.locator("body")).to_match_aria_snapshot("""
        - banner:
          - heading "MotivNet" [level=1]
          - paragraph: motivnet · fp32 · fake (float32) · faces by a custom detector
        - main:
          - region "Picture":
            - heading "Picture" [level=2]
            - img "picture.png"
            - button "Choose a picture"
            - button "Turn on the camera"
          - region "Time":
            - heading "Time" [level=2]
            - term: Round trip
            - definition
          - region "One face":
            - heading "One face" [level=2]
            - article "Happiness":
              - heading "Happiness" [level=3]
              - table "Probability of each emotion":
                - rowgroup:
                  - row "neutral 1.0%":
                    - rowheader "neutral"
                    - cell "1.0%"
                  - row "happiness 93.4%"
                  - row "sadness 1.0%"
        - contentinfo:
          - paragraph: /An emotion read off a face is an estimate of its expression\\./
          - paragraph: /Pictures go from this browser to this server and nowhere else\\. .*/
        - status: "One face: happiness, 93 percent."
    """)
    assert page.locator("html").get_attribute("lang") == "en"


def test_a_problem_is_announced_with_its_advice(page: Page, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    page.locator("#file").set_input_files(tmp_path / "notes.txt")
    expect(page.locator("main")).to_match_aria_snapshot("""
        - region "No result":
          - alert:
            - paragraph: This is not a picture
            - paragraph: “notes.txt” is of the type text/plain. Choose a JPEG, PNG or WebP file.
    """)


@pytest.mark.parametrize("state", ["empty", "result", "unknown", "problem", "token"])
def test_every_text_has_a_contrast_of_4_5(
    serve: Callable[..., Any], open_page: PageOpener, paint: Painter, state: str
) -> None:
    page = open_page(serve(token="a-token-of-some-length" if state == "token" else None))
    if state in ("result", "unknown"):
        set_probabilities(page, known=state == "result")
        read(page, paint(FACE))
    if state == "problem":
        page.route("**/v1/predict", lambda route: route.abort())
        page.locator("#file").set_input_files(paint(FACE))
    if state in ("problem", "token"):
        expect(page.locator("#problem")).to_be_visible()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        contrasts = page.evaluate(CONTRASTS)
        assert len(contrasts) > 6
        assert {text: ratio for text, ratio in contrasts.items() if ratio < 4.5} == {}


def test_the_page_is_dark_where_the_system_is(page: Page) -> None:
    def brightness(scheme: str) -> int:
        page.emulate_media(color_scheme=scheme)
        colour = page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
        return sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))

    assert brightness("dark") < 150
    assert brightness("light") > 600


def test_a_phone_of_320_pixels_needs_no_scrolling_sideways(
    service: Any, open_page: PageOpener, paint: Painter
) -> None:
    page = open_page(service, viewport={"width": 320, "height": 600})
    read(page, paint(FACE, OTHER, name="a-very-long-name-of-a-picture-without-any-blank-in-it.png"))
    assert page.evaluate("document.documentElement.scrollWidth") == 320


def test_on_a_phone_the_result_comes_before_the_time(
    service: Any, open_page: PageOpener, paint: Painter
) -> None:
    page = open_page(service, viewport={"width": 320, "height": 600})
    read(page, paint(FACE))
    result, times = page.get_by_role("table").bounding_box(), page.locator("#timing").bounding_box()
    assert result
    assert times
    assert result["y"] < times["y"]


def test_bars_do_not_move_where_movement_is_not_wanted(page: Page, paint: Painter) -> None:
    read(page, paint(FACE))
    bar = page.locator(".bar").first
    for motion, seconds in (("no-preference", "0.15s"), ("reduce", "0s")):
        page.emulate_media(reduced_motion=motion)
        assert bar.evaluate("bar => getComputedStyle(bar).transitionDuration") == seconds

"""A picture goes in by file, by drop or by paste, and its faces come out."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, Route, expect

pytestmark = pytest.mark.browser

Painter = Callable[..., Path]
PageOpener = Callable[..., Page]

FACE = (100, 120, 200, 240)
OTHER = (400, 60, 160, 200)
EMOTIONS = ["neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger"]

HAND_OVER = """([kind, type, files]) => {
    const transfer = new DataTransfer();
    for (const [name, content] of files) {
        const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
        transfer.items.add(new File([bytes], name, { type }));
    }
    const target = document.querySelector("#stage");
    const options = { bubbles: true, cancelable: true };
    const event = kind === "paste"
        ? new ClipboardEvent(kind, { ...options, clipboardData: transfer })
        : new DragEvent(kind, { ...options, dataTransfer: transfer });
    return target.dispatchEvent(event);
}"""


def choose(page: Page, picture: Path) -> None:
    page.locator("#file").set_input_files(picture)


def hand_over(page: Page, kind: str, *pictures: Path) -> bool:
    """Drops or pastes pictures; whether the browser then does what it does by itself."""
    files = [
        [picture.name, base64.b64encode(picture.read_bytes()).decode()] for picture in pictures
    ]
    return bool(page.evaluate(HAND_OVER, [kind, "image/png", files]))


def heading(page: Page) -> Locator:
    return page.locator("#summary")


def shares(page: Page) -> list[list[float]]:
    """Where each box is: (x, y, width, height) as shares of the picture that is shown."""
    area = page.locator("#frame > :visible").first.bounding_box()
    boxes = [box.bounding_box() for box in page.locator(".box").all()]
    assert area
    assert all(boxes)
    return [
        [
            (box["x"] - area["x"]) / area["width"],
            (box["y"] - area["y"]) / area["height"],
            box["width"] / area["width"],
            box["height"] / area["height"],
        ]
        for box in boxes
        if box
    ]


def expected(box: tuple[int, int, int, int], size: tuple[int, int] = (640, 480)) -> Any:
    x, y, width, height = box
    # A box is drawn to whole pixels of the screen.
    return pytest.approx([x / size[0], y / size[1], width / size[0], height / size[1]], abs=0.01)


def changed_answer(page: Page, change: Callable[[dict[str, Any]], None]) -> None:
    """Lets the service's answers through with a change."""

    def through(route: Route) -> None:
        answer = route.fetch()
        body = answer.json()
        change(body)
        route.fulfill(response=answer, json=body)

    page.route("**/v1/predict", through)


def test_a_chosen_picture_is_read(page: Page, paint: Painter) -> None:
    choose(page, paint(FACE))
    expect(heading(page)).to_have_text("One face")
    expect(page.locator("#picture")).to_be_visible()
    assert shares(page) == [expected(FACE)]


def test_each_emotion_has_its_percentage_in_the_models_order(page: Page, paint: Painter) -> None:
    choose(page, paint(FACE))
    expect(page.get_by_role("rowheader")).to_have_text(EMOTIONS)
    values = page.locator(".value").all_inner_texts()
    assert sum(float(re.sub("[<>%]", "", value)) for value in values) == pytest.approx(100, abs=1)


def test_a_bar_is_as_long_as_its_percentage(page: Page, paint: Painter) -> None:
    changed_answer(page, lambda body: set_probabilities(body, happiness=0.75, fear=0.25))
    choose(page, paint(FACE))
    expect(page.get_by_role("row", name="happiness")).to_contain_text("75.0%")
    page.wait_for_function("document.getAnimations().length === 0")
    assert length_of_bar(page, "happiness") == pytest.approx(0.75, abs=0.01)
    assert length_of_bar(page, "fear") == pytest.approx(0.25, abs=0.01)
    assert length_of_bar(page, "anger") == 0


def test_labels_that_look_like_numbers_keep_the_models_order(
    service: Any, open_page: PageOpener, paint: Painter
) -> None:
    labels = ["happy", "10", "9"]
    page = open_page(service)
    changed_answer(
        page,
        lambda body: body["images"][0]["faces"][0].update(
            probabilities=dict.fromkeys(labels, 1 / 3)
        ),
    )
    page.route(
        "**/v1/model", lambda route: route.fulfill(json={**route.fetch().json(), "labels": labels})
    )
    page.reload()
    choose(page, paint(FACE))
    expect(page.get_by_role("rowheader")).to_have_text(labels)


def set_probabilities(body: dict[str, Any], **some: float) -> None:
    [face] = body["images"][0]["faces"]
    face["probabilities"] = {label: some.get(label, 0) for label in face["probabilities"]}
    face["label"], face["confidence"] = max(some.items(), key=lambda item: item[1])


def length_of_bar(page: Page, label: str) -> float:
    row = page.get_by_role("row", name=label)
    bar, track = row.locator(".bar").bounding_box(), row.locator(".track").bounding_box()
    return bar["width"] / track["width"] if bar and track else 0


def test_faces_are_numbered_from_left_to_right(page: Page, paint: Painter) -> None:
    choose(page, paint(OTHER, FACE))
    expect(heading(page)).to_have_text("Two faces")
    expect(page.get_by_role("heading", level=3)).to_have_text(
        [re.compile("^Face 1: "), re.compile("^Face 2: ")]
    )
    assert shares(page) == [expected(FACE), expected(OTHER)]
    expect(page.locator(".box > span")).to_have_text([re.compile("^1 "), re.compile("^2 ")])


def test_faces_that_the_server_left_out_are_counted(
    serve: Callable[..., Any], open_page: PageOpener, paint: Painter
) -> None:
    page = open_page(serve(max_faces=1))
    choose(page, paint(FACE, OTHER))
    expect(heading(page)).to_have_text("One face")
    expect(page.locator("#note")).to_have_text("One smaller face was left out.")
    expect(page.get_by_role("status")).to_contain_text("One smaller face was left out.")


def test_no_face_is_a_result(page: Page, paint: Painter) -> None:
    choose(page, paint())
    expect(heading(page)).to_have_text("No face found")
    expect(page.get_by_text("Try a picture in which the face is larger")).to_be_visible()
    expect(page.locator("#problem")).to_be_hidden()


def test_an_unknown_face_is_said_to_be_unknown(page: Page, paint: Painter) -> None:
    changed_answer(
        page, lambda body: body["images"][0]["faces"][0].update(label="unknown", known=False)
    )
    choose(page, paint(FACE))
    expect(page.get_by_role("heading", level=3)).to_have_text("Unknown")
    expect(page.get_by_text("Unlike what the model has learnt from; closest to")).to_be_visible()
    expect(page.locator(".box.doubtful")).to_have_text("unknown")


def test_a_face_far_from_the_calibration_keeps_its_label_with_a_warning(
    page: Page, paint: Painter
) -> None:
    changed_answer(
        page, lambda body: body["images"][0]["faces"][0].update(label="fear", known=False)
    )
    choose(page, paint(FACE))
    expect(
        page.get_by_text("Unlike what the model has learnt from; do not rely on it.")
    ).to_be_visible()
    expect(page.locator(".box.doubtful")).to_have_text("fear")


def test_a_face_without_a_box_has_bars_all_the_same(page: Page, paint: Painter) -> None:
    changed_answer(page, lambda body: body["images"][0]["faces"][0].update(box=None))
    choose(page, paint(FACE))
    expect(page.get_by_role("rowheader")).to_have_text(EMOTIONS)
    expect(page.locator(".box")).to_be_hidden()


@pytest.mark.parametrize(("width", "scale"), [(320, 1), (320, 3), (800, 1), (1920, 2)])
def test_boxes_fit_at_any_size_and_pixel_density(
    service: Any, open_page: PageOpener, paint: Painter, width: int, scale: int
) -> None:
    page = open_page(service, viewport={"width": width, "height": 800}, device_scale_factor=scale)
    choose(page, paint(FACE, OTHER))
    expect(heading(page)).to_have_text("Two faces")
    assert shares(page) == [expected(FACE), expected(OTHER)]
    page.set_viewport_size({"width": 500, "height": 600})
    assert shares(page) == [expected(FACE), expected(OTHER)]


def test_boxes_fit_a_photo_that_the_camera_held_upright(
    page: Page, paint: Painter, tmp_path: Path
) -> None:
    orientation, turned_right = 0x0112, 6
    exif = Image.Exif()
    exif[orientation] = turned_right
    Image.open(paint(FACE)).save(tmp_path / "upright.jpg", exif=exif)
    choose(page, tmp_path / "upright.jpg")
    expect(heading(page)).to_have_text("One face")
    natural = page.locator("#picture").evaluate(
        "picture => [picture.naturalWidth, picture.naturalHeight]"
    )
    assert natural == [480, 640]
    x, y, width, height = FACE
    assert shares(page) == [expected((480 - y - height, x, height, width), (480, 640))]


def test_a_dropped_picture_is_read_and_the_page_stays(page: Page, paint: Painter) -> None:
    assert not hand_over(page, "dragover", paint(FACE))
    expect(page.locator("html")).to_have_class("dragging")
    assert not hand_over(page, "drop", paint(FACE))
    expect(heading(page)).to_have_text("One face")
    expect(page.locator("html")).not_to_have_class("dragging")


def test_of_several_pictures_the_first_is_read_and_that_is_said(page: Page, paint: Painter) -> None:
    hand_over(page, "drop", paint(FACE), paint(name="other.png"))
    expect(heading(page)).to_have_text("One face")
    expect(page.get_by_text("Only the first of 2 pictures was read.")).to_be_visible()


def test_a_pasted_picture_is_read(page: Page, paint: Painter) -> None:
    hand_over(page, "paste", paint(FACE))
    expect(heading(page)).to_have_text("One face")


def test_the_same_file_can_be_chosen_again(page: Page, paint: Painter) -> None:
    choose(page, paint(FACE))
    expect(heading(page)).to_have_text("One face")
    choose(page, paint())
    expect(heading(page)).to_have_text("No face found")


def test_a_later_picture_takes_the_place_of_one_that_is_being_read(
    service: Any, page: Page, paint: Painter
) -> None:
    service.detector.free.clear()
    choose(page, paint(FACE, OTHER, name="two.png"))
    expect(heading(page)).to_have_text("Reading the picture…")
    with page.expect_event("requestfailed"):  # the first one is given up
        choose(page, paint(name="none.png"))
    expect(heading(page)).to_have_text("No face found")
    service.detector.free.set()
    page.wait_for_timeout(300)
    expect(heading(page)).to_have_text("No face found")


def test_the_time_and_its_parts_are_shown(page: Page, paint: Painter) -> None:
    choose(page, paint(FACE))
    expect(page.get_by_role("term")).to_have_text(
        ["Round trip", "Queue", "Prepare", "Model", "Network"]
    )
    expect(page.get_by_role("definition")).to_have_text([re.compile(r"^[\d.]+ m?s$")] * 5)


def test_people_are_to_be_told_and_what_for(page: Page) -> None:
    expect(page.locator(".notice")).to_contain_text("their expression is read, and what for")
    expect(page.locator("#purpose")).to_be_hidden()  # nothing was stated

    def with_purpose(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "purpose": "A <b>study</b>"})

    page.route("**/v1/model", with_purpose)
    page.reload()
    expect(page.locator("#purpose")).to_have_text("Used for: A <b>study</b>")


def test_the_model_is_named(page: Page) -> None:
    expect(page.locator("#model")).to_contain_text("fp32 · fake (float32)")

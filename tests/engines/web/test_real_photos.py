"""Real photos in the browser: faces where Python finds them, expressions as Python reads them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from motivnet.prediction import Box
from motivnet_engines import EmotionClassifier, open_detector

pytestmark = [pytest.mark.browser, pytest.mark.shared]

Tab = Callable[..., Page]


@pytest.fixture
def tab(server: Any, open_tab: Tab) -> Page:
    page = open_tab(f"{server.url}blank.html")
    page.evaluate(
        """async () => {
            const { EmotionClassifier } = await import("/motivnet.js");
            window.classifier = await EmotionClassifier.open("/", { backend: "wasm" });
            const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
            window.blobOf = (text) => new Blob([bytes(text)]);
        }"""
    )
    return page


def in_browser(tab: Page, method: str, photo: Path) -> Any:
    encoded = base64.b64encode(photo.read_bytes()).decode()
    return tab.evaluate(f"(text) => classifier.{method}(blobOf(text))", encoded)


def faces_differ(tab: Page, classifier: EmotionClassifier, photos: list[Path]) -> list[str]:
    """The photos whose faces are not those of Python, with an IoU of 0.9."""
    different = []
    for photo in photos:
        [expected] = classifier.read(photo)
        boxes = [face.box for face in expected.faces]
        found = [Box(**face["box"]) for face in in_browser(tab, "read", photo)["faces"]]
        same = len(found) == len(boxes) and all(
            box is not None and other.iou(box) >= 0.9
            for box, other in zip(boxes, found, strict=True)
        )
        if not same:
            different.append(photo.name)
    return different


@pytest.mark.parametrize(
    "every", [13, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])]
)
def test_faces_are_found_where_python_finds_them(
    tab: Page, fp32_artifact: Path, shared_dir: Path, every: int
) -> None:
    photos = sorted((shared_dir / "data" / "london").glob("*.jpg"))[::every]
    assert len(photos) >= 10
    with EmotionClassifier.open(
        fp32_artifact, runtime="onnxruntime", detector=open_detector()
    ) as classifier:
        assert faces_differ(tab, classifier, photos) == []


@pytest.mark.parametrize(
    "every", [20, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])]
)
def test_expressions_are_classified_as_in_python(
    tab: Page, fp32_artifact: Path, shared_dir: Path, every: int
) -> None:
    photos = sorted((shared_dir / "data" / "expressions" / "val").glob("*/*.jpg"))[::every]
    with EmotionClassifier.open(fp32_artifact, runtime="onnxruntime") as classifier:
        expected = [prediction.label for prediction in classifier.predict(photos)]
    found = [in_browser(tab, "classify", photo)["label"] for photo in photos]
    different = sum(one != other for one, other in zip(found, expected, strict=True))
    assert different <= max(1, len(photos) // 300)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_memory_is_flat_over_2000_frames(tab: Page, shared_dir: Path) -> None:
    """The worker's memory, that of WebAssembly included, after 200 frames and after 2,000."""
    photo = sorted((shared_dir / "data" / "london").glob("*.jpg"))[0]
    encoded = base64.b64encode(photo.read_bytes()).decode()
    script = """async ([text, count]) => {
        const bitmap = await createImageBitmap(blobOf(text));
        let waiting = classifier.read(bitmap);
        for (let frame = 0; frame < count; frame += 1) {
            const next = classifier.read(bitmap);
            await waiting;
            waiting = next;
        }
        await waiting;
        bitmap.close();
        return (await performance.measureUserAgentSpecificMemory()).bytes;
    }"""
    early = tab.evaluate(script, [encoded, 200])
    late = tab.evaluate(script, [encoded, 1800])
    print(f"{early / 1e6:.1f} MB after 200 frames, {late / 1e6:.1f} MB after 2,000")
    assert late < early + 10e6

"""The browser's library against Python: the same pixels, the same faces, the same predictions."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page

from motivnet.preprocess import Preprocessing
from motivnet.synthetic import draw_face
from motivnet_engines import EmotionClassifier, open_detector
from motivnet_engines.faces.detector import square_crop

pytestmark = pytest.mark.browser

Tab = Callable[..., Page]

OPEN = """async (options) => {
    const { EmotionClassifier } = await import("/motivnet.js");
    window.blobOf = (text) => new Blob([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))]);
    window.classifier = await EmotionClassifier.open("/", options);
    return { verified: classifier.verified, labels: classifier.labels, name: classifier.name };
}"""
PIXELS = """async (png) => {
    const { whole, faces } = await classifier._pixels(blobOf(png));
    const add = (text, byte) => text + String.fromCharCode(byte);
    const plain = (pixels) => btoa(pixels.reduce(add, ""));
    return [plain(whole), faces.map((face) => ({ ...face, pixels: plain(face.pixels) }))];
}"""


@pytest.fixture(scope="module")
def tab(server: Any, browser: Browser) -> Iterator[Page]:
    """A page with an open classifier."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{server.url}blank.html")
    page.evaluate(OPEN, {})
    yield page
    context.close()


@pytest.fixture(scope="module")
def python_classifier(fp32_artifact: Path) -> Iterator[EmotionClassifier]:
    with EmotionClassifier.open(
        fp32_artifact, runtime="onnxruntime", detector=open_detector()
    ) as classifier:
        yield classifier


def png(pixels: NDArray[np.uint8]) -> str:
    return base64.b64encode(cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()).decode()


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def two_faces() -> NDArray[np.uint8]:
    """One drawn face on the other's left, at the edge of the picture."""
    faces = [draw_face(emotion, seed=seed, size=(300, 240)) for emotion, seed in FACES]
    return np.hstack([faces[0], cv2.resize(faces[1], (480, 600))[:300], faces[1]])


FACES = (("happiness", 1), ("anger", 12))


def from_base64(text: str, size: tuple[int, int]) -> NDArray[np.int16]:
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(*size, 3).astype(np.int16)


def test_it_says_what_it_verified(server: Any, open_tab: Tab) -> None:
    opened = open_tab(f"{server.url}blank.html").evaluate(OPEN, {"backend": "wasm"})
    verified = opened["verified"]
    assert verified["samples"] == 4
    assert verified["maxAbsoluteError"] < 1e-4
    assert verified["backend"] == "wasm"
    assert verified["threads"] >= 1
    assert verified["runtime"].startswith("onnxruntime-web ")
    assert len(opened["labels"]) == 7


@pytest.mark.parametrize("shape", [(64, 48), (33, 51), (7, 300), (511, 383), (128, 96), (1, 1)])
def test_pixels_are_those_of_python(
    tab: Page, python_classifier: EmotionClassifier, shape: tuple[int, int]
) -> None:
    picture = noise(*shape)
    recipe = python_classifier.manifest.input.preprocessing
    whole, _ = tab.evaluate(PIXELS, png(picture))
    difference = np.abs(from_base64(whole, recipe.size) - recipe.pixels(picture))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.05


def test_white_is_put_around_as_in_python(
    own_folder: Path, redescribed: Any, serve_folder: Any, open_tab: Tab
) -> None:
    recipe = Preprocessing.named("square-white-pad", size=(128, 96))
    plain = {"name": recipe.name, "mean": recipe.mean, "std": recipe.std}
    redescribed(own_folder, preprocess=plain)
    picture = noise(90, 70)
    with serve_folder(own_folder) as server:
        page = open_tab(f"{server.url}blank.html")
        page.evaluate(OPEN, {})
        whole, _ = page.evaluate(PIXELS, png(picture))
    assert np.abs(from_base64(whole, recipe.size) - recipe.pixels(picture)).max() <= 1


@pytest.mark.parametrize("scale", [1, 3.1])
def test_faces_and_their_crops_are_those_of_python(
    tab: Page, python_classifier: EmotionClassifier, scale: float
) -> None:
    picture = cv2.resize(two_faces(), None, fx=scale, fy=scale)
    expected = open_detector().detect(picture)
    recipe = python_classifier.manifest.input.preprocessing
    _, faces = tab.evaluate(PIXELS, png(picture))
    assert len(faces) == len(expected) >= 2
    for found, face in zip(faces, expected, strict=True):
        assert list(found["box"].values()) == pytest.approx(
            list(face.box.to_dict().values()), abs=0.5 * scale
        )
        assert found["score"] == pytest.approx(face.score, abs=1e-3)
        crop = recipe.pixels(square_crop(picture, face.box))
        assert np.abs(from_base64(found["pixels"], recipe.size) - crop).mean() < 1


def test_results_are_those_of_python(tab: Page, python_classifier: EmotionClassifier) -> None:
    picture = two_faces()
    [expected] = [result.to_dict() for result in python_classifier.read(picture)]
    script = "(png) => classifier.read(blobOf(png), { name: 'the image' })"
    found = tab.evaluate(script, png(picture))
    assert list(found) == list(expected)
    assert list(found["timing"]) == list(expected["timing"])
    assert [found[name] for name in ("name", "width", "height")] == ["the image", 960, 300]
    for face, other in zip(found["faces"], expected["faces"], strict=True):
        assert list(face) == list(other)
        assert face["label"] == other["label"]
        assert face["probabilities"] == pytest.approx(other["probabilities"], abs=2e-3)
        assert face["energy"] == pytest.approx(other["energy"], abs=1e-2)


def test_a_picture_that_is_a_face_is_classified_as_in_python(
    tab: Page, python_classifier: EmotionClassifier
) -> None:
    picture = draw_face("fear", seed=5, size=(64, 48))
    [expected] = [prediction.to_dict() for prediction in python_classifier.predict(picture)]
    found = tab.evaluate("(png) => classifier.classify(blobOf(png))", png(picture))
    assert list(found) == list(expected)
    assert found["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-5)
    assert found["box"] is None


SOURCES = {
    "a file": "new File([blob], 'face.png')",
    "an image": "Object.assign(new Image(), { src: URL.createObjectURL(blob) })",
    "a bitmap": "await createImageBitmap(blob)",
    "a canvas": "canvas",
    "an offscreen canvas": "offscreen",
    "pixels": "offscreen.getContext('2d').getImageData(0, 0, bitmap.width, bitmap.height)",
    "a frame": "new VideoFrame(offscreen, { timestamp: 0 })",
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_every_kind_of_picture_gives_the_same(tab: Page, source: str) -> None:
    script = f"""async (png) => {{
        const blob = blobOf(png);
        const bitmap = await createImageBitmap(blob);
        const offscreen = new OffscreenCanvas(bitmap.width, bitmap.height);
        const canvas = document.createElement("canvas");
        Object.assign(canvas, {{ width: bitmap.width, height: bitmap.height }});
        for (const one of [canvas, offscreen]) one.getContext("2d").drawImage(bitmap, 0, 0);
        const source = {source};
        const results = [];
        for (const one of [blob, source, source]) results.push(await classifier.read(one));
        return results.map(({{ faces }}) => faces);
    }}"""
    first, second, third = tab.evaluate(script, png(two_faces()))
    assert len(first) >= 2
    for faces in (second, third):
        assert [face["box"] for face in faces] == [face["box"] for face in first]
        for face, other in zip(faces, first, strict=True):
            assert face["probabilities"] == pytest.approx(other["probabilities"], abs=1e-3)


def test_a_camera_is_read(tab: Page) -> None:
    found = tab.evaluate("""async () => {
        const video = Object.assign(document.createElement("video"), { muted: true });
        video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: 640 } });
        await video.play();
        const { faces, width } = await classifier.read(video);
        return [faces.length, width];
    }""")
    assert found == [2, 640]


def test_results_come_in_order_and_the_page_stays_awake(tab: Page) -> None:
    found = tab.evaluate(
        """async (png) => {
            let longest = 0, last = performance.now(), done = false;
            const watch = () => {
                const now = performance.now();
                longest = Math.max(longest, now - last);
                last = now;
                if (!done) setTimeout(watch, 0);
            };
            watch();
            const order = [];
            const blob = blobOf(png);
            const read = (i) => classifier.read(blob).then(() => order.push(i));
            await Promise.all(Array.from({ length: 12 }, (_, i) => read(i)));
            done = true;
            return [order, longest];
        }""",
        png(cv2.resize(two_faces(), None, fx=2, fy=2)),
    )
    order, longest = found
    assert order == list(range(12))
    assert longest < 1000  # a frozen page would be the sum of twelve pictures


def test_a_closed_classifier_says_so_and_frees_those_who_wait(server: Any, open_tab: Tab) -> None:
    tab = open_tab(f"{server.url}blank.html")
    tab.evaluate(OPEN, {})
    found = tab.evaluate(
        """async (png) => {
            const blob = blobOf(png);
            const read = () => classifier.read(blob).then(() => "read", (e) => e.code);
            const waiting = [1, 2, 3, 4].map(read);
            await new Promise((resolve) => setTimeout(resolve, 0)); // two are in the worker
            classifier.close();
            classifier.close();
            waiting.push(classifier.classify(blob).catch((e) => e.message));
            return await Promise.all(waiting);
        }""",
        png(noise(64, 64)),
    )
    assert found == ["closed"] * 4 + ["This classifier was closed."]


def test_transparency_is_laid_on_white(tab: Page, python_classifier: EmotionClassifier) -> None:
    pixels = np.zeros((64, 48, 4), np.uint8)
    pixels[:32] = (10, 20, 30, 128)
    encoded = base64.b64encode(cv2.imencode(".png", pixels)[1].tobytes()).decode()
    recipe = python_classifier.manifest.input.preprocessing
    whole, _ = tab.evaluate(PIXELS, encoded)
    seen = cv2.resize(from_base64(whole, recipe.size).astype(np.uint8), (48, 64))
    assert seen[-1, -1].tolist() == [255, 255, 255]
    assert seen[2, 2].tolist() == pytest.approx([142, 137, 132], abs=1)


def test_the_outputs_of_a_batch_are_those_of_python(
    tab: Page, python_classifier: EmotionClassifier
) -> None:
    recipe = python_classifier.manifest.input.preprocessing
    batch = np.stack([recipe(noise(64 + index, 50)) for index in range(3)])
    name = python_classifier.manifest.input.name
    expected = python_classifier.runtime.run({name: batch})
    found = tab.evaluate(
        """async ([values, batch]) => {
            const outputs = await classifier._run(Float32Array.from(values), batch);
            const entries = Object.entries(outputs);
            return Object.fromEntries(entries.map(([name, data]) => [name, [...data]]));
        }""",
        [batch.ravel().tolist(), len(batch)],
    )
    assert list(found) == list(expected)
    for output, values in expected.items():
        assert found[output] == pytest.approx(values.ravel().tolist(), abs=1e-4)

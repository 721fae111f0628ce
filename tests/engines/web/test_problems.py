"""What goes wrong in a browser is a sentence with a code, and the page lives on."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

pytestmark = pytest.mark.browser

Tab = Callable[..., Page]

REFUSED = """async (options) => {
    const { EmotionClassifier, MotivNetError } = await import("/motivnet.js");
    try {
        await EmotionClassifier.open("/", options);
    } catch (error) {
        if (!(error instanceof MotivNetError)) throw error;
        return [error.code, error.message];
    }
    return ["opened", ""];
}"""


def swap(name: str) -> Callable[[Path, Any], None]:
    def swapped(folder: Path, _: Any) -> None:
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)

    return swapped


def replace_model(folder: Path, redescribed: Any) -> None:
    """Other logits, with hashes that fit: only the reference samples tell."""
    data = (folder / "samples.bin").read_bytes()
    (folder / "samples.bin").write_bytes(data[:-4] + struct.pack("<f", 77.0))
    redescribed(folder)


DAMAGES: dict[str, tuple[Callable[[Path, Any], object], str, str]] = {
    "model": (swap("model.onnx"), "damaged", "The file model.onnx is not the one that this folder"),
    "detector": (swap("face_detection.onnx"), "damaged", "face_detection.onnx is not the one"),
    "page": (swap("page/viewer.js"), "damaged", "page/viewer.js is not the one"),
    "runtime": (swap("ort/ort-wasm-simd-threaded.wasm"), "damaged", "threaded.wasm is not"),
    "shorter": (
        lambda folder, _: (folder / "model.onnx").write_bytes(b"short"),
        "damaged",
        "(5 bytes instead of",
    ),
    "missing": (
        lambda folder, _: (folder / "model.onnx").unlink(),
        "unreachable",
        "The file model.onnx cannot be loaded: the server answers with status 404.",
    ),
    "other results": (replace_model, "not_verified", "sample 4 of 4 is off by"),
    "version": (
        lambda folder, redescribed: redescribed(folder, format=2),
        "wrong_version",
        "This folder is of another version (format 2; this page reads 1)",
    ),
    "no description": (
        lambda folder, _: (folder / "motivnet.json").write_text("<html>"),
        "damaged",
        "motivnet.json of this folder is not JSON",
    ),
    "incomplete": (
        lambda folder, redescribed: redescribed(folder, labels=["one"]),
        "damaged",
        "motivnet.json of this folder lacks something",
    ),
}


@pytest.mark.parametrize(("damage", "code", "message"), DAMAGES.values(), ids=DAMAGES)
def test_a_folder_that_is_not_as_it_was_built_is_refused(
    own_folder: Path,
    redescribed: Any,
    serve_folder: Any,
    open_tab: Tab,
    damage: Callable[[Path, Any], object],
    code: str,
    message: str,
) -> None:
    damage(own_folder, redescribed)
    with serve_folder(own_folder) as server:
        found = open_tab(f"{server.url}blank.html").evaluate(REFUSED, {})
    assert found[0] == code
    assert message in found[1]
    assert found[1].endswith(".")


@pytest.mark.parametrize(
    ("script", "options", "code", "message"),
    [
        ("WebAssembly.validate = () => false", {}, "no_simd", "has no WebAssembly SIMD"),
        ("", {"backend": "cuda"}, "bad_source", "choose auto, webgpu or wasm"),
        ("", {"backend": "webgpu"}, "no_backend", "built without the files for WebGPU"),
    ],
)
def test_a_browser_that_cannot_run_it_is_told(
    server: Any, open_tab: Tab, script: str, options: dict[str, str], code: str, message: str
) -> None:
    found = open_tab(f"{server.url}blank.html", script=script).evaluate(REFUSED, options)
    assert found[0] == code
    assert message in found[1]


def test_without_isolation_there_is_one_thread(
    web_folder: Path, serve_folder: Any, open_tab: Tab
) -> None:
    with serve_folder(web_folder, isolated=False) as server:
        verified = open_tab(f"{server.url}blank.html").evaluate(
            """async () => {
                const { EmotionClassifier } = await import("/motivnet.js");
                return (await EmotionClassifier.open("/")).verified;
            }"""
        )
    assert verified["threads"] == 1
    assert verified["maxAbsoluteError"] < 1e-4


def large_png(width: int, height: int) -> bytes:
    """A small file with the head of a large picture."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


LARGE_JPEG = (
    b"\xff\xd8\xff\xe0\x00\x10JFIF\0"
    + b"\0" * 9
    + b"\xff\xc0\x00\x11\x08"
    + (struct.pack(">HH", 10000, 10000) + b"\x03" + b"\0" * 30)
)

PICTURES = {
    "100 megapixels, PNG": (large_png(10000, 10000), "too_large", "has 100 megapixels; up to 64"),
    "100 megapixels, JPEG": (LARGE_JPEG, "too_large", "has 100 megapixels"),
    "text": (b"no picture at all, but some words", "bad_image", "cannot read this as a picture"),
    "empty": (b"", "bad_image", "empty file"),
    "cut": (large_png(8, 8), "bad_image", "cannot read this as a picture"),
}


@pytest.mark.parametrize(("data", "code", "message"), PICTURES.values(), ids=PICTURES)
def test_a_picture_that_cannot_be_read_is_a_sentence_and_the_next_is_read(
    server: Any, open_tab: Tab, data: bytes, code: str, message: str
) -> None:
    found = open_tab(f"{server.url}blank.html").evaluate(
        """async (bytes) => {
            const { EmotionClassifier } = await import("/motivnet.js");
            const classifier = await EmotionClassifier.open("/");
            const file = new Blob([new Uint8Array(bytes)]);
            const answer = await classifier.read(file).catch((error) => error);
            const next = await classifier.read(new ImageData(64, 64));
            return [answer.code, answer.message, next.width];
        }""",
        list(data),
    )
    assert found[0] == code
    assert message in found[1]
    assert found[2] == 64


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("'photo.jpg'", "bad_source"),
        ("null", "bad_source"),
        ("{}", "bad_source"),
        ("new Image()", "bad_image"),
        ("document.createElement('video')", "bad_image"),
        ("Object.assign(document.createElement('canvas'), { width: 0 })", "bad_image"),
    ],
)
def test_what_is_no_picture_is_refused(tab_of_server: Page, source: str, code: str) -> None:
    script = f"() => classifier.read({source}).then(() => 'read', (error) => error.code)"
    assert tab_of_server.evaluate(script) == code


@pytest.fixture
def tab_of_server(server: Any, open_tab: Tab) -> Page:
    page = open_tab(f"{server.url}blank.html")
    page.evaluate(
        """async () => {
            const { EmotionClassifier } = await import("/motivnet.js");
            window.classifier = await EmotionClassifier.open("/");
        }"""
    )
    return page

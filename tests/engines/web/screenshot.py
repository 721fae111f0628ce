"""Makes the documentation's picture of the page in the browser: a camera that sees two drawn faces.

motivnet serve --static artifacts/web
python tests/engines/web/screenshot.py http://127.0.0.1:8000 docs/browser.png
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from motivnet.files import write_atomic
from motivnet.synthetic import draw_face

FACES = (("surprise", 12), ("happiness", 1))
SECONDS = 20


def camera_file(folder: Path) -> Path:
    """What the fake camera shows, as YUV4MPEG2; the page shows it mirrored."""
    faces = [draw_face(emotion, seed=seed, size=(480, 320)) for emotion, seed in FACES]
    frame = cv2.cvtColor(np.hstack(faces), cv2.COLOR_RGB2YUV_I420).tobytes()
    path = folder / "camera.y4m"
    path.write_bytes(b"YUV4MPEG2 W640 H480 F30:1 Ip A1:1 C420jpeg\n" + (b"FRAME\n" + frame) * 3)
    return path


def picture_of_page(url: str) -> bytes:
    """What the page looks like while the camera runs, as a PNG file of 256 colours."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        video = camera_file(Path(folder))
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=[
                "--no-sandbox",
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
                f"--use-file-for-fake-video-capture={video}",
            ],
        )
        page = browser.new_page(viewport={"width": 1100, "height": 800}, reduced_motion="reduce")
        page.goto(url)
        page.get_by_role("button", name="Turn on the camera").click()
        expect(page.locator("#summary")).to_have_text("Two faces", timeout=60_000)
        page.wait_for_timeout(1000 * SECONDS)
        taken = page.screenshot(full_page=True)
        browser.close()
    few_colours = Image.open(io.BytesIO(taken)).quantize(256, method=Image.Quantize.FASTOCTREE)
    file = io.BytesIO()
    few_colours.save(file, "PNG", optimize=True)
    return file.getvalue()


if __name__ == "__main__":
    write_atomic(Path(sys.argv[2]), picture_of_page(sys.argv[1]))

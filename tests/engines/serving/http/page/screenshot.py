"""Makes the README's picture of the page, with two drawn faces that a running service reads.

motivnet serve --artifact artifacts/demo
python tests/engines/serving/http/page/screenshot.py http://127.0.0.1:8000 docs/page.png
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from playwright.sync_api import FilePayload, expect, sync_playwright

from motivnet.files import write_atomic
from motivnet.synthetic import draw_face

FACES = (("happiness", 1), ("anger", 12))
EDGE = 24


def drawn_picture() -> bytes:
    """Two faces beside each other, as a PNG file."""
    faces = [draw_face(emotion, seed=seed, size=(480, 360)) for emotion, seed in FACES]
    around = ((EDGE, EDGE), (EDGE, EDGE), (0, 0))
    pixels = np.hstack([np.pad(face, around, constant_values=255) for face in faces])
    return cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()


def picture_of_page(url: str) -> bytes:
    """What the page looks like with the result for the two faces, as a PNG file of 256 colours."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1100, "height": 800}, reduced_motion="reduce")
        page.goto(url)
        picture = FilePayload(name="faces.png", mimeType="image/png", buffer=drawn_picture())
        for _ in range(3):  # the first call of a runtime is not a time to show
            page.locator("#file").set_input_files(picture)
            expect(page.locator("#summary")).to_have_text("Two faces")
        taken = page.screenshot(full_page=True)
        browser.close()
    few_colours = Image.open(io.BytesIO(taken)).quantize(256, method=Image.Quantize.MEDIANCUT)
    file = io.BytesIO()
    few_colours.save(file, "PNG", optimize=True)
    return file.getvalue()


if __name__ == "__main__":
    write_atomic(Path(sys.argv[2]), picture_of_page(sys.argv[1]))

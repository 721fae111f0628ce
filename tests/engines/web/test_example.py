"""The example that embeds the library in a page of one's own."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
from playwright.sync_api import Page, expect

from motivnet.synthetic import draw_face

pytestmark = pytest.mark.browser

EXAMPLE = Path(__file__).parents[3] / "examples/browser/index.html"


def test_the_example_reads_a_face_and_says_what_is_wrong(
    web_folder: Path, tmp_path: Path, serve_folder: Any, open_tab: Callable[..., Page]
) -> None:
    shutil.copy(EXAMPLE, tmp_path)
    shutil.copytree(web_folder, tmp_path / "motivnet")
    face = draw_face("happiness", seed=1, size=(400, 300))
    assert cv2.imwrite(str(tmp_path / "face.png"), face[..., ::-1])
    with serve_folder(tmp_path) as server:
        page = open_tab(server.url)
        said = page.get_by_role("status")
        expect(said).to_have_text("Verified here on 4 samples: choose a picture.", timeout=30_000)
        page.locator("#file").set_input_files(tmp_path / "face.png")
        expect(said).to_have_text(re.compile(r"^\w+ \d+ %$"), timeout=30_000)
        page.locator("#file").set_input_files(EXAMPLE)
        expect(said).to_contain_text("cannot read this as a picture")

"""Fixtures of the training tests."""

from pathlib import Path

import cv2
import pytest

from motivnet.labels import EMOTIONS
from motivnet.synthetic import draw_face


@pytest.fixture(scope="session")
def face_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("faces")
    for emotion in EMOTIONS[:7]:
        (root / emotion).mkdir()
        for seed in range(6):
            cv2.imwrite(str(root / emotion / f"{seed}.png"), draw_face(emotion, seed=seed, size=(80, 60)))
    (root / "anger" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return root

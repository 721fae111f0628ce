"""Results for image files: a bad one does not stop the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from motivnet.prediction import Box
from motivnet_engines.faces.detector import Face
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.inference.file_search import find_files
from motivnet_engines.inference.image_files import predict_files
from motivnet_engines.runtimes.fake import FakeRuntime, fake_manifest


@pytest.fixture
def folder(tmp_path: Path, pixels) -> Path:
    """Three images, one of them in a folder below, beside what is no image or hidden."""
    names = ["b.png", "a.JPG", "inner/c.bmp", ".hidden.png", ".cache/d.png"]
    for name, image in zip(names, pixels(5), strict=True):
        path = tmp_path / "faces" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    (tmp_path / "faces" / "notes.txt").write_text("no image")
    return tmp_path / "faces"


def test_one_unreadable_file_stops_no_other(folder: Path) -> None:
    manifest = fake_manifest()
    classifier = EmotionClassifier(FakeRuntime(manifest), manifest, batch_size=2)
    paths = [
        folder / "a.JPG",
        folder / "notes.txt",
        folder / "missing.png",
        folder / "b.png",
        folder / "inner/c.bmp",
    ]
    results = list(predict_files(classifier, iter(paths)))
    assert [result.image for result in results] == paths
    assert [result.result and result.result.faces[0] for result in results] == [
        classifier.predict(path)[0] if path.name not in ("notes.txt", "missing.png") else None
        for path in paths
    ]
    assert [result.error is not None for result in results] == [False, True, True, False, False]
    assert results[2].error == f"{folder / 'missing.png'} does not exist; check its name"


class HalvesOfWidePictures:
    """Two faces side by side in a picture wider than 53 pixels, none in another."""

    def detect(self, pixels: np.ndarray) -> tuple[Face, ...]:
        height, width = pixels.shape[:2]
        if width <= 53:
            return ()
        boxes = (Box(x=x, y=0, width=width / 2, height=height) for x in (0, width / 2))
        return tuple(Face(box=box, score=0.9) for box in boxes)


def test_a_file_has_the_faces_that_are_found_in_it(folder: Path) -> None:
    manifest = fake_manifest()
    classifier = EmotionClassifier(FakeRuntime(manifest), manifest, detector=HalvesOfWidePictures())
    results = [result.result for result in predict_files(classifier, find_files(folder).files)]
    assert [result and len(result.faces) for result in results] == [0, 0, 2]
    assert results[2] is not None
    left, right = results[2].faces
    assert left.box is not None
    assert right.box is not None
    assert (left.box.x, right.box.x, left.score) == (0, results[2].width / 2, 0.9)
    assert left.probabilities != right.probabilities

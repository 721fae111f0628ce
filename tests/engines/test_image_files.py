"""Files and folders of images: what is found, and that one bad file stops no other."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from motivnet.errors import FileError
from motivnet_engines.classifier import EmotionClassifier
from motivnet_engines.fake import FakeRuntime, fake_manifest
from motivnet_engines.image_files import image_paths, predict_files


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


def test_a_folder_becomes_its_images_in_order(folder: Path) -> None:
    found = image_paths([folder, folder / "notes.txt"])
    assert [path.relative_to(folder).as_posix() for path in found] == ["a.JPG", "b.png", "inner/c.bmp", "notes.txt"]


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"holds no image \(\.bmp, "):
        image_paths([tmp_path])


def test_one_unreadable_file_stops_no_other(folder: Path) -> None:
    manifest = fake_manifest()
    classifier = EmotionClassifier(FakeRuntime(manifest), manifest, batch_size=2)
    paths = [folder / "a.JPG", folder / "notes.txt", folder / "missing.png", folder / "b.png", folder / "inner/c.bmp"]
    heard: list[int] = []
    results = list(predict_files(classifier, paths, on_files=heard.append))
    assert [result.path for result in results] == paths
    assert [result.prediction for result in results] == [
        classifier.predict(path)[0] if path.name not in ("notes.txt", "missing.png") else None for path in paths
    ]
    assert [result.error is not None for result in results] == [False, True, True, False, False]
    assert str(folder / "missing.png") in (results[2].error or "")
    assert heard == [2, 2, 1]

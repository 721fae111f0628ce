from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from motivnet.datasets.read import read_dataset
from motivnet.labels import EMOTIONS
from motivnet.synthetic import draw_face

NAMES = {
    "KA.NE1.26.tiff": "neutral",
    "KA.HA2.30.tiff": "happiness",
    "KL.SA1.175.tiff": "sadness",
    "KL.SU3.166.tiff": "surprise",
    "KM.FE1.23.tiff": "fear",
    "KM.DI1.20.tiff": "disgust",
    "NA.AN1.211.tiff": "anger",
}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    for seed, (name, emotion) in enumerate(NAMES.items()):
        face = cv2.cvtColor(draw_face(emotion, seed=seed, size=(64, 64)), cv2.COLOR_RGB2GRAY)
        Image.fromarray(face).save(tmp_path / name)
    (tmp_path / "README_FIRST.txt").write_text("notes")
    return tmp_path


def test_names_tell_emotion_and_person(dataset: Path) -> None:
    read = read_dataset(dataset, labels=EMOTIONS[:7])
    assert read.format == "JAFFE"
    assert {s.name: (EMOTIONS[s.label], s.person, s.split) for s in read.samples} == {
        name: (emotion, name[:2], None) for name, emotion in NAMES.items()
    }
    assert read.skipped == {"not an image file": 1}
    assert read.unreadable == {}


def test_its_tiff_images_are_decoded(dataset: Path) -> None:
    sample = read_dataset(dataset, labels=EMOTIONS[:7]).samples[0]
    grey = np.asarray(Image.open(dataset / sample.name))
    np.testing.assert_array_equal(sample.pixels(), np.repeat(grey[:, :, None], 3, axis=2))


def test_copies_in_class_folders_and_of_other_formats_keep_their_people(dataset: Path) -> None:
    for name, emotion in NAMES.items():
        folder = dataset / "archive" / "jaffe" / emotion
        folder.mkdir(parents=True, exist_ok=True)
        image = Image.open(dataset / name)
        image.save((folder / name).with_suffix(".jpg"))
        (dataset / name).unlink()
    read = read_dataset(dataset, labels=EMOTIONS[:7])
    assert read.format == "JAFFE"
    assert {sample.person for sample in read.samples} == {name[:2] for name in NAMES}
    assert read.skipped == {"entry beside the dataset": 1}

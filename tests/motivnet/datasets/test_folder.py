from pathlib import Path

import cv2
import pytest

from motivnet.datasets import folder
from motivnet.datasets.read import read_dataset
from motivnet.labels import EMOTIONS
from motivnet.synthetic import draw_face

SEVEN = EMOTIONS[:7]


def put_face(path: Path, emotion: str = "neutral", *, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), draw_face(emotion, seed=seed, size=(32, 24)))


@pytest.mark.parametrize(
    ("name", "emotion"),
    [
        ("neutral", "neutral"),
        ("happy", "happiness"),
        ("Happiness", "happiness"),
        ("sad", "sadness"),
        ("surprised", "surprise"),
        ("FEARFUL", "fear"),
        ("disgusted", "disgust"),
        ("angry", "anger"),
    ],
)
def test_class_folders_are_known_by_label_and_by_common_names(
    tmp_path: Path, name: str, emotion: str
) -> None:
    put_face(tmp_path / name / "1.png", emotion)
    found = folder.read(tmp_path, labels=SEVEN)
    sample = found.samples[0]
    assert (sample.name, sample.image, sample.label) == (
        f"{name}/1.png",
        tmp_path / name / "1.png",
        SEVEN.index(emotion),
    )
    assert (sample.split, sample.person, sample.distribution) == (None, None, None)
    assert found.skipped == {}


def test_labels_that_are_not_emotions_are_folders_of_their_own_name(tmp_path: Path) -> None:
    put_face(tmp_path / "class_1" / "1.jpg")
    assert read_dataset(tmp_path, labels=("class_0", "class_1")).samples[0].label == 1


def test_every_file_left_out_is_counted_with_its_reason(tmp_path: Path) -> None:
    for name in ("anger/1.jpg", "anger/2.PNG", "bored/1.jpg", "bored/2.jpg", "contempt/1.png"):
        put_face(tmp_path / name)
    (tmp_path / "anger" / "notes.txt").write_text("notes")
    (tmp_path / "LICENSE").write_text("licence")
    (tmp_path / ".DS_Store").write_bytes(b"")
    found = folder.read(tmp_path, labels=SEVEN)
    assert [sample.name for sample in found.samples] == ["anger/1.jpg", "anger/2.PNG"]
    assert found.skipped == {
        "unknown class folder bored": 2,
        "the model has no class contempt": 1,
        "not an image file": 1,
        "not in a class folder": 1,
    }


def test_contempt_is_read_where_the_model_has_it(tmp_path: Path) -> None:
    put_face(tmp_path / "contempt" / "1.png")
    assert folder.read(tmp_path, labels=EMOTIONS).samples[0].label == 7


def test_the_order_of_the_images_does_not_depend_on_the_file_system(tmp_path: Path) -> None:
    for name in ("sad/2.png", "angry/9.png", "sad/1.png"):
        put_face(tmp_path / name)
    names = [sample.name for sample in folder.read(tmp_path, labels=SEVEN).samples]
    assert names == ["angry/9.png", "sad/1.png", "sad/2.png"]


def test_folders_of_parts_are_kept_and_what_lies_beside_them_has_none(tmp_path: Path) -> None:
    for name in (
        "train/sad/1.png",
        "Validation/sad/2.png",
        "test/happy/3.png",
        "sad/4.png",
        "train/bored/5.png",
    ):
        put_face(tmp_path / name)
    found = folder.read(tmp_path, labels=SEVEN)
    assert {sample.name: (sample.split, SEVEN[sample.label]) for sample in found.samples} == {
        "train/sad/1.png": ("train", "sadness"),
        "Validation/sad/2.png": ("val", "sadness"),
        "test/happy/3.png": ("test", "happiness"),
        "sad/4.png": (None, "sadness"),
    }
    assert found.skipped == {"unknown class folder bored": 1}


def test_all_numbers_from_0_to_7_are_affectnets(tmp_path: Path) -> None:
    for number in range(8):
        put_face(tmp_path / ("train" if number < 5 else "test") / str(number) / "1.png")
    found = folder.read(tmp_path, labels=SEVEN)
    assert {sample.name.split("/")[1]: sample.label for sample in found.samples} == {
        str(n): n for n in range(7)
    }
    assert found.skipped == {"the model has no class contempt": 1}


@pytest.mark.parametrize(
    "numbers", [range(7), range(1, 8)], ids=["FER2013's or AffectNet's", "RAF-DB's"]
)
def test_fewer_numbers_could_mean_anything_and_are_not_guessed(
    tmp_path: Path, numbers: range
) -> None:
    for number in numbers:
        put_face(tmp_path / str(number) / "1.png")
    found = folder.read(tmp_path, labels=SEVEN)
    assert found.samples == ()
    assert (
        found.skipped[
            "unknown class folder 3, a number that means different emotions in different sets"
        ]
        == 1
    )

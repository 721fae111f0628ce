import json
from pathlib import Path

import cv2
import pytest

from motivnet.errors import DatasetError
from motivnet.labels import EMOTIONS
from motivnet.synthetic import draw_face
from motivnet_training.datasets import motivnet_json
from motivnet_training.datasets.read import read_dataset


def put_face(path: Path, emotion: str = "neutral", *, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), draw_face(emotion, seed=seed, size=(32, 24)))


def write(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def test_keys_are_labels_and_paths_are_relative_to_the_list(tmp_path: Path) -> None:
    for name in ("a.jpg", "more/b.jpg"):
        put_face(tmp_path / "images" / name)
    path = write(tmp_path / "lists" / "faces.json", {"0": ["../images/a.jpg"], "6": ["../images/more/b.jpg"], "2": []})
    for given in (path, path.parent):
        read = read_dataset(given, labels=EMOTIONS[:7])
        assert read.layout == "MotivNet JSON list"
        assert [(s.name, EMOTIONS[s.label], s.part) for s in read.samples] == [
            ("../images/a.jpg", "neutral", None),
            ("../images/more/b.jpg", "anger", None),
        ]
        assert read.samples[1].pixels().shape == (32, 24, 3)


def test_contempt_is_counted_where_the_model_has_seven_classes(tmp_path: Path) -> None:
    found = motivnet_json.listing(write(tmp_path / "a.json", {"0": ["a"], "7": ["b", "c"]}), labels=EMOTIONS[:7])
    assert len(found.samples) == 1
    assert found.skipped == {"the model has no class contempt": 2}


def test_other_labels_are_numbered_too(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", {"1": ["a"]})
    assert motivnet_json.listing(path, labels=("class_0", "class_1")).samples[0].label == 1


def test_lists_of_parts_are_read_together(tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        write(tmp_path / f"{part}.json", {"0": [f"{part}.jpg"]})
    write(tmp_path / "settings.json", {"version": 1})
    found = motivnet_json.listing(tmp_path, labels=EMOTIONS)
    assert {sample.name: sample.part for sample in found.samples} == {
        "train.jpg": "train",
        "val.jpg": "val",
        "test.jpg": "test",
    }


def test_of_other_lists_one_must_be_given(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        write(tmp_path / name, {"0": []})
    with pytest.raises(
        DatasetError, match=r"holds several lists \(a.json, b.json\); give one, or call them train.json"
    ):
        motivnet_json.listing(tmp_path, labels=EMOTIONS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"8": ["a.jpg"]}', "has the label '8'; it must be a whole number from 0 to 7"),
        ('{"happy": ["a.jpg"]}', "has the label 'happy'; it must be a whole number from 0 to 7"),
        ('{"0": ["a.jpg"], "0": []}', "is not a list such as .*: key .0. appears twice"),
        ('{"0": "a.jpg"}', "must be a list"),
        ('{"0": [1]}', "must be a string"),
        ("[]", "must be an object"),
        ('{"0": ["a', "not JSON at line 1"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "faces.json").write_text(text)
    with pytest.raises(DatasetError, match=message):
        motivnet_json.listing(tmp_path / "faces.json", labels=EMOTIONS[:7])


def test_a_json_file_among_class_folders_does_not_make_them_a_list(tmp_path: Path) -> None:
    put_face(tmp_path / "sad" / "1.png")
    write(tmp_path / "metadata.json", {"source": "a camera"})
    assert read_dataset(tmp_path, labels=EMOTIONS).layout == "class folders"

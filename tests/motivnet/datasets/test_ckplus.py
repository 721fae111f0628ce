from pathlib import Path

import cv2
import pytest

from motivnet.datasets import ckplus
from motivnet.datasets.read import read_dataset
from motivnet.datasets.split import split_dataset
from motivnet.errors import DatasetError
from motivnet.labels import EMOTIONS
from motivnet.synthetic import draw_face

EMOTION_OF_CODE = (
    "neutral",
    "anger",
    "contempt",
    "disgust",
    "fear",
    "happiness",
    "sadness",
    "surprise",
)


def put_face(path: Path, emotion: str = "neutral", *, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), draw_face(emotion, seed=seed, size=(32, 24)))


def put_sequence(
    root: Path, person: str, number: str, *, frames: int = 3, code: str | None = None, seed: int = 0
) -> None:
    for frame in range(1, frames + 1):
        path = root / "cohn-kanade-images" / person / number / f"{person}_{number}_{frame:08d}.png"
        put_face(path, seed=seed + frame)
    if code is not None:
        label = root / "Emotion" / person / number / f"{person}_{number}_{frames:08d}_emotion.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(f"   {code}\n")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    put_sequence(tmp_path, "S005", "001", frames=11, code="3.0000000e+00")
    put_sequence(tmp_path, "S005", "002")
    put_sequence(tmp_path, "S010", "001", code="5.0000000e+00")
    (tmp_path / "Emotion" / "S010" / "002").mkdir()
    (tmp_path / "cohn-kanade-images" / "S010" / ".DS_Store").write_bytes(b"")
    (tmp_path / "cohn-kanade-images" / "ReadMe.txt").write_text("notes")
    return tmp_path


def test_the_ends_of_each_labelled_sequence_are_neutral_and_its_label_of_the_same_person(
    dataset: Path,
) -> None:
    read = read_dataset(dataset, labels=EMOTIONS[:7])
    assert read.format == "CK+"
    assert [(s.name, EMOTIONS[s.label], s.person, s.split) for s in read.samples] == [
        ("cohn-kanade-images/S005/001/S005_001_00000001.png", "neutral", "S005", None),
        ("cohn-kanade-images/S005/001/S005_001_00000011.png", "disgust", "S005", None),
        ("cohn-kanade-images/S010/001/S010_001_00000001.png", "neutral", "S010", None),
        ("cohn-kanade-images/S010/001/S010_001_00000003.png", "happiness", "S010", None),
    ]
    assert read.skipped == {"sequence without a label": 2}


@pytest.mark.parametrize(("code", "emotion"), list(enumerate(EMOTION_OF_CODE)))
def test_codes_are_cks_own_and_a_single_frame_is_the_peak(
    tmp_path: Path, code: int, emotion: str
) -> None:
    put_sequence(tmp_path, "S011", "001", frames=1, code=f"{code:.7e}")
    assert [EMOTIONS[s.label] for s in ckplus.read(tmp_path, labels=EMOTIONS).samples] == [emotion]


def test_seven_classes_can_be_trained_and_nobody_is_in_both_parts(tmp_path: Path) -> None:
    for person in range(4):
        for code in (1, 3, 4, 5, 6, 7):
            seed = 100 * person + 10 * code  # so that no two frames are the same picture
            put_sequence(
                tmp_path, f"S{person:03d}", f"{code:03d}", frames=2, code=f"{code}.0", seed=seed
            )
    split = split_dataset(
        read_dataset(tmp_path, labels=EMOTIONS[:7]), seed=0, validation_share=0.25
    )
    for part, people in ((split.training, 3), (split.validation, 1)):
        assert {sample.label for sample in part} == set(range(7))
        assert len({sample.person for sample in part}) == people


def test_a_label_without_its_images_is_counted(dataset: Path) -> None:
    put_sequence(dataset, "S999", "001", frames=0, code="1.0")
    assert ckplus.read(dataset, labels=EMOTIONS).skipped["labelled sequence without images"] == 1


@pytest.mark.parametrize("code", ["8.0", "1.5", "anger", ""])
def test_a_label_out_of_range_names_its_file(dataset: Path, code: str) -> None:
    put_sequence(dataset, "S010", "001", code=code)
    with pytest.raises(
        DatasetError, match=r"_emotion.txt has the label .*; it must be a whole number from 0 to 7$"
    ):
        ckplus.read(dataset, labels=EMOTIONS)


def test_missing_labels_are_asked_for(dataset: Path) -> None:
    (dataset / "Emotion").rename(dataset / "elsewhere")
    with pytest.raises(
        DatasetError, match="Emotion is not a folder; unpack CK\\+'s emotion labels there"
    ):
        ckplus.read(dataset, labels=EMOTIONS)


def put_ck48(root: Path) -> None:
    for name in (
        "anger/S010_004_00000017.png",
        "anger/S010_004_00000018.png",
        "contempt/S138_008_00000009.png",
    ):
        put_face(root / name)


def test_ck48_is_class_folders_with_people(tmp_path: Path) -> None:
    put_ck48(tmp_path)
    put_face(tmp_path / "happy" / "me.png")
    read = read_dataset(tmp_path, labels=EMOTIONS)
    assert read.format == "CK+48"
    assert [(sample.name, EMOTIONS[sample.label], sample.person) for sample in read.samples] == [
        ("anger/S010_004_00000017.png", "anger", "S010"),
        ("anger/S010_004_00000018.png", "anger", "S010"),
        ("contempt/S138_008_00000009.png", "contempt", "S138"),
    ]
    assert read.skipped == {"not named as in CK+48": 1}


def test_contempt_of_ck48_is_counted_where_the_model_has_seven_classes(tmp_path: Path) -> None:
    put_ck48(tmp_path)
    read = read_dataset(tmp_path, labels=EMOTIONS[:7])
    assert len(read.samples) == 2
    assert read.skipped == {"the model has no class contempt": 1}


def test_training_on_ck48_says_that_it_has_no_neutral_images(tmp_path: Path) -> None:
    folders = ("anger", "disgust", "fear", "happy", "sadness", "surprise")
    for number, name in enumerate(folders):
        put_face(tmp_path / name / f"S{number:03d}_001_00000009.png", seed=number)
    with pytest.raises(DatasetError) as caught:
        split_dataset(read_dataset(tmp_path, labels=EMOTIONS[:7]), seed=0)
    assert str(caught.value) == (
        "there is no image of class neutral to train on; CK+48 has no neutral images: use CK+, or "
        "add them as "
        "neutral/S010_004_00000001.png and the like"
    )
    for number in range(2):
        put_face(tmp_path / "neutral" / f"S{number:03d}_001_00000001.png", seed=10 + number)
        put_face(tmp_path / "anger" / f"S{number:03d}_001_00000010.png", seed=20 + number)
    split = split_dataset(read_dataset(tmp_path, labels=EMOTIONS[:7]), seed=0)
    assert {sample.label for sample in split.training} == set(range(7))


def test_folders_of_the_archives_and_a_wrapper_are_looked_into(dataset: Path) -> None:
    expected = [(s.label, s.person) for s in read_dataset(dataset, labels=EMOTIONS).samples]
    inner = dataset / "archive" / "CK+"
    for archive, name in {
        "extended-cohn-kanade-images": "cohn-kanade-images",
        "Emotion_labels": "Emotion",
    }.items():
        (inner / archive).mkdir(parents=True)
        (dataset / name).rename(inner / archive / name)
    read = read_dataset(dataset, labels=EMOTIONS)
    assert read.format == "CK+"
    assert [(sample.label, sample.person) for sample in read.samples] == expected

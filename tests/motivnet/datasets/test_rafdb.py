from pathlib import Path

import cv2
import pytest

from motivnet.datasets import rafdb
from motivnet.datasets.read import read_class_folders, read_dataset
from motivnet.errors import DatasetError
from motivnet.labels import EMOTIONS
from motivnet.synthetic import draw_face

EMOTION_OF_CODE = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")


def put_face(path: Path, emotion: str = "neutral", *, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), draw_face(emotion, seed=seed, size=(32, 24)))


def write_list(root: Path, text: str) -> None:
    (root / "EmoLabel").mkdir(parents=True, exist_ok=True)
    (root / "EmoLabel" / "list_patition_label.txt").write_bytes(text.encode())


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    names = [f"train_{number:05d}" for number in range(1, 8)] + ["test_0001"]
    codes = [*range(1, 8), 4]
    lines = [f"{name}.jpg {code}" for name, code in zip(names, codes, strict=True)]
    write_list(tmp_path / "basic", "\r\n".join(lines) + "\r\n\r\n")
    for name, code in zip(names, codes, strict=True):
        put_face(
            tmp_path / "basic" / "Image" / "aligned" / f"{name}_aligned.jpg",
            EMOTION_OF_CODE[code - 1],
        )
    return tmp_path


def test_the_list_gives_labels_and_names_give_parts(dataset: Path) -> None:
    read = read_dataset(dataset, labels=EMOTIONS)
    assert read.format == "RAF-DB"
    expected = [
        (f"train_{i:05d}.jpg", emotion, "train") for i, emotion in enumerate(EMOTION_OF_CODE, 1)
    ]
    assert [(s.name, EMOTIONS[s.label], s.split) for s in read.samples] == [
        *expected,
        ("test_0001.jpg", "happiness", "test"),
    ]
    assert (
        read.samples[0].image == dataset / "basic" / "Image" / "aligned" / "train_00001_aligned.jpg"
    )
    assert (read.skipped, read.unreadable) == ({}, {})


def test_the_folder_basic_itself_is_recognised(dataset: Path) -> None:
    assert len(read_dataset(dataset / "basic", labels=EMOTIONS).samples) == 8


def test_columns_may_be_separated_by_tabs_and_followed_by_others(dataset: Path) -> None:
    write_list(dataset / "basic", "train_00001.jpg\t5\ttraining\n")
    assert rafdb.read(dataset, labels=EMOTIONS).samples[0].label == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "train_00002.jpg 0",
            "line 2 of .*has the label '0'; it must be a whole number from 1 to 7",
        ),
        (
            "train_00002.jpg 8",
            "line 2 of .*has the label '8'; it must be a whole number from 1 to 7",
        ),
        ("train_00002.jpg", "line 2 of .*is not like 'train_00001.jpg 5'"),
        ("val_00002.jpg 3", "line 2 of .*is not like 'train_00001.jpg 5'"),
    ],
)
def test_a_damaged_line_is_named(dataset: Path, line: str, message: str) -> None:
    write_list(dataset / "basic", f"train_00001.jpg 5\n{line}\n")
    with pytest.raises(DatasetError, match=message):
        rafdb.read(dataset, labels=EMOTIONS)


def test_missing_faces_are_asked_for(dataset: Path) -> None:
    (dataset / "basic" / "Image" / "aligned").rename(dataset / "elsewhere")
    with pytest.raises(
        DatasetError, match=r"aligned is not a folder; unpack RAF-DB's aligned.zip there"
    ):
        rafdb.read(dataset, labels=EMOTIONS)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("separator", [" ", "\t", ",", "; "])
def test_a_list_may_name_the_aligned_faces_and_separate_columns_in_any_way(
    dataset: Path, separator: str, end: str
) -> None:
    lines = (f"train_{i:05d}_aligned.jpg{separator}{i}{end}" for i in range(1, 8))
    write_list(dataset / "basic", "\ufeff" + "".join(lines))
    read = read_dataset(dataset, labels=EMOTIONS)
    assert [EMOTIONS[sample.label] for sample in read.samples] == list(EMOTION_OF_CODE)
    assert (read.skipped, read.unreadable) == ({}, {})


@pytest.mark.parametrize("folder", ["basic/Image/aligned/aligned", "basic/aligned"])
def test_faces_are_found_where_their_archive_was_unpacked(dataset: Path, folder: str) -> None:
    aligned = dataset / "basic" / "Image" / "aligned"
    moved = aligned.rename(dataset / "moved")
    (dataset / folder).parent.mkdir(parents=True, exist_ok=True)
    moved.rename(dataset / folder)
    assert len(read_dataset(dataset, labels=EMOTIONS).samples) == 8


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The layout of the copies on Kaggle."""
    for split in ("train", "test"):
        rows = [f"{split}_{code:05d}_aligned.jpg,{code}" for code in range(1, 8)]
        (tmp_path / f"{split}_labels.csv").write_text("\n".join(["image,label", *rows]))
        for code, emotion in enumerate(EMOTION_OF_CODE, 1):
            name = f"{split}_{code:05d}_aligned.jpg"
            put_face(tmp_path / "DATASET" / split / str(code) / name, emotion)
    return tmp_path


@pytest.mark.parametrize("inside", ["", "DATASET", "DATASET/train", "DATASET/test"])
def test_folders_of_numbers_are_read_by_the_names_of_their_files(copied: Path, inside: str) -> None:
    read = read_dataset(copied / inside, labels=EMOTIONS)
    assert read.format == "RAF-DB"
    assert read.counts() == dict.fromkeys(EMOTIONS[:7], 1 if "/" in inside else 2) | {"contempt": 0}
    for sample in read.samples:
        assert isinstance(sample.image, Path)
        assert EMOTION_OF_CODE[int(sample.image.parent.name) - 1] == EMOTIONS[sample.label]
        assert sample.image.name.startswith(str(sample.split))
    assert read.skipped == {}


def test_a_copy_in_a_wrapper_is_found_and_what_lies_beside_it_is_said(copied: Path) -> None:
    wrapper = copied / "raf-db" / "archive"
    wrapper.mkdir(parents=True)
    for entry in [*copied.glob("*.csv"), copied / "DATASET"]:
        entry.rename(wrapper / entry.name)
    (copied / "raf-db" / "readme.txt").touch()
    read = read_dataset(copied, labels=EMOTIONS)
    assert (read.format, len(read.samples)) == ("RAF-DB", 14)
    assert read.skipped == {"entry beside the dataset": 1}


def test_an_image_whose_folder_and_list_disagree_is_left_out(copied: Path) -> None:
    (copied / "test_labels.csv").write_text("image;label\ntest_00003_aligned.jpg;4\n")
    read = read_dataset(copied, labels=EMOTIONS)
    assert len(read.samples) == 13
    assert read.skipped == {"image with another number in the list than its folder": 1}


def test_one_file_of_another_name_leaves_the_numbers_uncertain(copied: Path) -> None:
    faces = copied / "DATASET" / "train" / "4"
    next(faces.iterdir()).rename(faces / "me.jpg")
    with pytest.raises(DatasetError, match="rename the folders of numbers to the classes"):
        read_dataset(copied, labels=EMOTIONS)


@pytest.mark.parametrize("wrapper", ["", "DATASET"])
def test_where_only_class_folders_are_read_it_is_said_what_the_folder_is(
    tmp_path: Path, wrapper: str
) -> None:
    root = tmp_path / "rafdb" / wrapper
    put_face(root / "train" / "1" / "train_00001_aligned.jpg")
    put_face(root / "test" / "2" / "test_0001_aligned.jpg")
    with pytest.raises(DatasetError, match=r"rafdb is RAF-DB, and only a folder of .* neutral, "):
        read_class_folders(tmp_path / "rafdb", labels=EMOTIONS)


def test_annotators_say_gender_race_and_age(dataset: Path) -> None:
    folder = dataset / "basic" / "Annotation" / "manual"
    folder.mkdir(parents=True)
    points = "".join(f"{x}.5\t{x + 1}.5\n" for x in range(5))
    (folder / "train_00002_manu_attri.txt").write_text(f"{points}1\n2\n3\n")
    (folder / "test_0001_manu_attri.txt").write_text(f"{points}2\n0\n0\n")
    samples = read_dataset(dataset, labels=EMOTIONS).samples
    assert rafdb.attributes(dataset, samples, "Gender") == {
        "train_00002.jpg": "female",
        "test_0001.jpg": "unsure",
    }
    assert rafdb.attributes(dataset, samples, "race") == {
        "train_00002.jpg": "Asian",
        "test_0001.jpg": "Caucasian",
    }
    assert rafdb.attributes(dataset, samples, "age") == {
        "train_00002.jpg": "40 to 69",
        "test_0001.jpg": "0 to 3",
    }
    assert rafdb.attributes(dataset, samples, "hair") is None
    (folder / "train_00003_manu_attri.txt").write_text("1\n2\n")
    with pytest.raises(DatasetError, match="5 points, then gender, race and age"):
        rafdb.attributes(dataset, samples, "age")

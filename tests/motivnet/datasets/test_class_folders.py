from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import cv2
import pytest

from motivnet.datasets import class_folders
from motivnet.datasets.class_folders import read_class_folders
from motivnet.datasets.read import read_dataset
from motivnet.errors import DatasetError, MotivNetError
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
    found = class_folders.read(tmp_path, labels=SEVEN)
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
    put_face(tmp_path / "loose.jpg")
    (tmp_path / "fear").mkdir()
    (tmp_path / ".DS_Store").write_bytes(b"")
    found = class_folders.read(tmp_path, labels=SEVEN)
    assert [sample.name for sample in found.samples] == ["anger/1.jpg", "anger/2.PNG"]
    assert found.skipped == {
        "unknown class folder bored": 2,
        "the model has no class contempt": 1,
        "not an image file": 2,
        "image in no class folder": 1,
        "class folder without images": 1,
    }
    assert found.left_out.names["not an image file"] == ("LICENSE", "anger/notes.txt")


def test_contempt_is_read_where_the_model_has_it(tmp_path: Path) -> None:
    put_face(tmp_path / "contempt" / "1.png")
    assert class_folders.read(tmp_path, labels=EMOTIONS).samples[0].label == 7


def test_the_order_of_the_images_does_not_depend_on_the_file_system(tmp_path: Path) -> None:
    for name in ("sad/2.png", "angry/9.png", "sad/1.png"):
        put_face(tmp_path / name)
    names = [sample.name for sample in class_folders.read(tmp_path, labels=SEVEN).samples]
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
    found = class_folders.read(tmp_path, labels=SEVEN)
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
    found = class_folders.read(tmp_path, labels=SEVEN)
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
    found = class_folders.read(tmp_path, labels=SEVEN)
    assert found.samples == ()
    assert found.skipped == {class_folders.NUMBERED: 7}
    with pytest.raises(DatasetError, match="; rename the folders of numbers to the classes"):
        read_dataset(tmp_path, labels=SEVEN)


def test_all_images_below_a_class_folder_are_of_the_class(tmp_path: Path) -> None:
    names = ("train/sad/anna/1.png", "sad/test/2.png", "train/train/sad/3.png")
    for name in names:
        put_face(tmp_path / name)
    found = class_folders.read(tmp_path, labels=SEVEN)
    assert {sample.name: sample.split for sample in found.samples} == dict(
        zip(names, ("train", "test", "train"), strict=True)
    )
    assert found.skipped == {}


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_class_folders_for_a_model_have_the_names_that_a_training_takes(tmp_path: Path) -> None:
    names = ("Happy/b.png", "Happy/a.jpg", "Happy/.c.png", "Happy/notes.txt", "neutral/1.png")
    more = ("0_Fear/1.JFIF", "sad/1.png", "Sadness/anna/2.png", "__MACOSX/x/1.jpg", "readme.md")
    found = read_class_folders(fill(tmp_path, *names, *more, ".git/1.png"), labels=SEVEN)
    folder = tmp_path / "Happy"
    assert found.paths["happiness"] == (folder / "a.jpg", folder / "b.png")
    assert found.counts() == {"fear": 1, "happiness": 2, "sadness": 2, "neutral": 1}
    assert str(found.left_out) == (
        "2 x not an image file (Happy/notes.txt, readme.md), 3 x hidden or of the system"
    )


def test_emotions_that_the_model_lacks_and_empty_folders_are_left_out(tmp_path: Path) -> None:
    fill(tmp_path, "fear/1.png", "7_contempt/1.png", "sad/1.txt", "boredom/.keep", "2.png")
    found = read_class_folders(tmp_path, labels=SEVEN)
    assert list(found.paths) == ["fear"]
    assert found.left_out.counts == {
        "the model has no class contempt": 1,
        "class folder without images": 2,
        "not an image file": 1,
        "image in no class folder": 1,
    }


@pytest.mark.parametrize("new_classes", [False, True])
def test_wrappers_around_class_folders_are_looked_through(
    tmp_path: Path, new_classes: bool
) -> None:
    folder = fill(tmp_path, "archive/faces/train/happy/1.png", "archive/readme.txt")
    found = read_class_folders(folder, labels=SEVEN, new_classes=new_classes)
    assert found.paths == {"happiness": (folder / "archive/faces/train/happy/1.png",)}
    assert found.left_out.counts == {"entry beside the dataset": 1}


def test_new_classes_are_known_by_the_model_s_name_in_any_case(tmp_path: Path) -> None:
    fill(
        tmp_path,
        "Neutral/1.png",
        "happy/1.png",
        "7_contempt/1.png",
        "Boredom/1.png",
        "boredom/2.png",
    )
    found = read_class_folders(tmp_path, labels=SEVEN, new_classes=True)
    assert found.counts() == {
        "contempt": 1,
        "Boredom": 2,
        "neutral": 1,
        "happiness": 1,
    }


def test_a_model_of_other_classes_has_no_emotions(tmp_path: Path) -> None:
    fill(tmp_path, "happy/1.png", "Tired/1.png", "archive/1.png")
    found = read_class_folders(tmp_path, labels=("tired", "awake"), new_classes=True)
    assert found.counts() == {"tired": 1, "archive": 1, "happy": 1}


@pytest.mark.parametrize(
    ("names", "new_classes", "message"),
    [
        ((), False, "holds no image in class folders"),
        (("1.png", "2.png"), False, r"has no class folders, and 2 images .* \(1.png, 2.png\); put"),
        (("1.png",), False, r"has no class folders, and 1 image in it \(1.png\); put"),
        (
            ("bored/1.png", "happy/1.png"),
            False,
            "bored is not called as a class of the model, which has neutral, happiness, .*; rename",
        ),
        (("sad/1.txt",), False, r"holds no image .*1 x not an image file \(sad/1.txt\)"),
        (("contempt/1.png",), False, "no image of a class of the model .* no class contempt"),
        (
            ("x/train/sad/1.png", "x/test/sad/2.png"),
            False,
            r"has class folders in several folders \(x/test, x/train\); give one of these",
        ),
        (("Unknown/1.png",), True, "Unknown cannot be the name of a class; use .* than 'unknown'"),
        (("ab/1.png",), True, "cannot be the name of a class"),
        (
            ("archive/bored/1.png", "archive/tired/1.png"),
            True,
            r"archive holds folders \(bored, tired\) and no images; give .*archive if they are",
        ),
        (
            ("bored/1.png", "archive/happy/1.png"),
            True,
            r"archive holds folders \(happy\) and no images; give .*archive if they are the",
        ),
    ],
)
def test_what_is_not_certainly_a_set_of_class_folders_is_refused(
    tmp_path: Path, names: tuple[str, ...], new_classes: bool, message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        read_class_folders(fill(tmp_path, *names), labels=SEVEN, new_classes=new_classes)


@pytest.mark.parametrize("name", ["missing", "a" * 300, "loop", "file"])
def test_a_path_that_is_no_folder_is_one_line(tmp_path: Path, name: str) -> None:
    (fill(tmp_path, "file") / "loop").symlink_to("loop")
    with pytest.raises(MotivNetError, match=r"is not a folder; give one|cannot be read: (F|Too)"):
        read_class_folders(tmp_path / name, labels=SEVEN)


def test_class_folders_of_which_one_may_not_be_read_are_refused_before_any_work(
    public_folder: Path, permissions: Callable[[], AbstractContextManager[None]]
) -> None:
    (fill(public_folder, "sad/1.png", "happy/1.png") / "sad").chmod(0)
    with permissions():
        for reads in (read_class_folders, read_dataset):
            with pytest.raises(MotivNetError, match="Permission denied"):
                reads(public_folder, labels=SEVEN)

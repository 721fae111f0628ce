import logging
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from motivnet.errors import DatasetError
from motivnet.labels import EMOTIONS
from motivnet.synthetic import draw_face
from motivnet_training.datasets.folder import LabelledImages, read_folder
from motivnet_training.datasets.split import read_split, split_by_class

SEVEN = EMOTIONS[:7]


def put_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), draw_face("neutral", seed=0, size=(32, 24)))


@pytest.mark.parametrize(
    ("folder", "emotion"),
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
def test_class_folders_are_known_by_label_and_by_common_names(tmp_path: Path, folder: str, emotion: str) -> None:
    put_image(tmp_path / folder / "1.png")
    images = read_folder(tmp_path, labels=SEVEN)
    assert images.samples == ((tmp_path / folder / "1.png", SEVEN.index(emotion)),)
    assert images.skipped == {}


def test_labels_that_are_not_emotions_are_folders_of_their_own_name(tmp_path: Path) -> None:
    put_image(tmp_path / "class_1" / "1.jpg")
    assert read_folder(tmp_path, labels=("class_0", "class_1")).samples[0][1] == 1


def test_every_file_left_out_is_counted_with_its_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("anger/1.jpg", "anger/2.PNG", "bored/1.jpg", "bored/2.jpg", "contempt/1.png"):
        put_image(tmp_path / name)
    (tmp_path / "anger" / "3.jpg").write_bytes(b"no image")
    (tmp_path / "anger" / "notes.txt").write_text("notes")
    (tmp_path / "LICENSE").write_text("licence")
    (tmp_path / ".DS_Store").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        images = read_folder(tmp_path, labels=SEVEN)
    assert [path.name for path, _ in images.samples] == ["1.jpg", "2.PNG"]
    assert images.skipped == {
        "unknown class folder bored": 2,
        "the model has no class contempt": 1,
        "not an image file": 1,
        "unreadable image": 1,
        "not in a class folder": 1,
    }
    assert "2 x unknown class folder bored" in caplog.text


def test_contempt_is_read_where_the_model_has_it(tmp_path: Path) -> None:
    put_image(tmp_path / "contempt" / "1.png")
    assert read_folder(tmp_path, labels=EMOTIONS).samples[0][1] == 7


def test_the_order_of_the_images_does_not_depend_on_the_file_system(tmp_path: Path) -> None:
    for name in ("sad/2.png", "angry/9.png", "sad/1.png"):
        put_image(tmp_path / name)
    names = [str(path.relative_to(tmp_path)) for path, _ in read_folder(tmp_path, labels=SEVEN).samples]
    assert names == ["angry/9.png", "sad/1.png", "sad/2.png"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not a folder; give a folder"),
        ([], "holds no image of a known class; expected folders such as neutral/"),
        (["bored/1.png"], "1 x unknown class folder bored"),
        (["anger/notes.txt"], "1 x not an image file"),
    ],
    ids=["missing", "empty", "only unknown classes", "no images"],
)
def test_a_folder_without_images_of_known_classes_is_refused(
    tmp_path: Path, content: list[str] | None, message: str
) -> None:
    folder = tmp_path / "faces"
    if content is not None:
        folder.mkdir()
        for name in content:
            put_image(folder / name) if name.endswith("png") else put_text(folder / name)
    with pytest.raises(DatasetError, match=message):
        read_folder(folder, labels=SEVEN)


def put_text(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("text")


def test_a_split_that_the_dataset_brings_is_kept_and_its_skipped_files_are_added_up(tmp_path: Path) -> None:
    for name in ("train/sad/1.png", "train/sad/2.png", "val/sad/3.png", "train/bored/1.png", "val/bored/1.png"):
        put_image(tmp_path / name)
    split = read_split(tmp_path, labels=SEVEN, seed=0)
    assert [path.name for path, _ in split.training] == ["1.png", "2.png"]
    assert [path.name for path, _ in split.validation] == ["3.png"]
    assert split.skipped == {"unknown class folder bored": 2}


def labelled(*counts: int) -> LabelledImages:
    return LabelledImages(
        samples=tuple((Path(f"{label}/{i}.png"), label) for label, n in enumerate(counts) for i in range(n))
    )


def test_a_tenth_of_each_class_is_held_out() -> None:
    split = split_by_class(labelled(40, 20, 3, 1), seed=0)
    held_out = [label for _, label in split.validation]
    assert [held_out.count(label) for label in range(4)] == [4, 2, 1, 0]
    assert set(split.training) | set(split.validation) == set(labelled(40, 20, 3, 1).samples)
    assert not set(split.training) & set(split.validation)


def test_the_split_follows_the_seed() -> None:
    assert split_by_class(labelled(40, 20), seed=1) == split_by_class(labelled(40, 20), seed=1)
    assert split_by_class(labelled(40, 20), seed=1) != split_by_class(labelled(40, 20), seed=2)


def test_classes_of_single_images_cannot_be_split() -> None:
    with pytest.raises(DatasetError, match="no class has two images"):
        split_by_class(labelled(1, 1), seed=0)


def test_reading_folders_imports_no_torch() -> None:
    code = "import sys, motivnet_training.datasets.split; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

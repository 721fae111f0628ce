from pathlib import Path

import cv2
import pytest

from motivnet.datasets.read import read_dataset
from motivnet.errors import DatasetError
from motivnet.labels import EMOTIONS
from motivnet.synthetic import draw_face


def write(root: Path, text: str, name: str = "list.csv") -> None:
    for seed, file in enumerate(("a.jpg", "b.jpg", "in/c.jpg")):
        (root / file).parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(root / file), draw_face("neutral", seed=seed, size=(32, 24)))
    (root / name).write_text(text)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_images_labels_splits_and_people_are_found_by_their_columns(
    tmp_path: Path, separator: str
) -> None:
    rows = [
        ("age", "Emotion", "IMAGE", "split", "subject"),
        ("3", "happy", "a.jpg", "train", "p1"),
        ("4", "Neutral", "in/c.jpg", "validation", "p2"),
        ("5", "bored", "b.jpg", "train", "p1"),
    ]
    write(tmp_path, "\n".join(separator.join(row) for row in rows))
    found = read_dataset(tmp_path, labels=EMOTIONS[:7])
    assert found.format == "CSV list"
    assert [(s.name, EMOTIONS[s.label], s.split, s.person) for s in found.samples] == [
        ("a.jpg", "happiness", "train", "p1"),
        ("in/c.jpg", "neutral", "val", "p2"),
    ]
    assert found.skipped == {"the model has no class bored": 1}
    assert read_dataset(tmp_path / "list.csv", labels=EMOTIONS).format == "CSV list"


def test_class_folders_stay_class_folders(tmp_path: Path) -> None:
    (tmp_path / "happy").mkdir()
    write(tmp_path, "file,label\na.jpg,sad\n")
    (tmp_path / "a.jpg").rename(tmp_path / "happy" / "a.jpg")
    assert read_dataset(tmp_path, labels=EMOTIONS).format == "class folders"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "file,label\nb.jpg,sad\na.jpg,3\n",
            "line 3 of .* has the label '3', whose meaning differs",
        ),
        ("file,label\nb.jpg,sad\n,happy\n", "line 3 of .* names no image"),
        ("file,label,split\na.jpg,happy,dev\n", "line 2 of .* has the split 'dev'; call"),
        ("file,label\na.jpg,sad\n../x.jpg,happy\n", "names an image outside its folder"),
    ],
)
def test_bad_lists_are_refused_with_the_line(tmp_path: Path, text: str, said: str) -> None:
    write(tmp_path, text)
    with pytest.raises(DatasetError, match=said):
        read_dataset(tmp_path, labels=EMOTIONS)


def test_several_lists_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "file,label\na.jpg,happy\n")
    write(tmp_path, "file,label\nb.jpg,happy\n", "other.csv")
    with pytest.raises(DatasetError, match=r"several lists \(list.csv, other.csv\)"):
        read_dataset(tmp_path, labels=EMOTIONS)
    assert len(read_dataset(tmp_path / "other.csv", labels=EMOTIONS).samples) == 1


def test_a_table_of_images_elsewhere_is_no_list(tmp_path: Path) -> None:
    write(tmp_path, "file,label\nx.jpg,happy\n")
    with pytest.raises(DatasetError, match="it was read as class folders"):
        read_dataset(tmp_path, labels=EMOTIONS)

from pathlib import Path

import cv2
import pytest

from motivnet.datasets.read import read_dataset
from motivnet.labels import EMOTIONS
from motivnet.synthetic import draw_face

EMOTION_OF_CODE = {
    "NE": "neutral",
    "HA": "happiness",
    "SA": "sadness",
    "SU": "surprise",
    "AF": "fear",
    "DI": "disgust",
    "AN": "anger",
}


def put_face(path: Path, emotion: str = "neutral", *, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), draw_face(emotion, seed=seed, size=(32, 24)))


def test_names_tell_emotion_and_person_from_every_angle(tmp_path: Path) -> None:
    for code, emotion in EMOTION_OF_CODE.items():
        put_face(tmp_path / "AF01" / f"AF01{code}S.JPG", emotion)
    for name in ("AF01/AF01ANFL.JPG", "BF01/BF01HAHR.JPG", "AM35/AM35SUFR.JPG"):
        put_face(tmp_path / name)
    read = read_dataset(tmp_path, labels=EMOTIONS[:7])
    assert read.format == "KDEF"
    frontal = {
        f"AF01/AF01{code}S.JPG": (emotion, "F01") for code, emotion in EMOTION_OF_CODE.items()
    }
    assert {
        sample.name: (EMOTIONS[sample.label], sample.person) for sample in read.samples
    } == frontal | {
        "AF01/AF01ANFL.JPG": ("anger", "F01"),
        "BF01/BF01HAHR.JPG": ("happiness", "F01"),
        "AM35/AM35SUFR.JPG": ("surprise", "M35"),
    }
    assert read.skipped == {}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        *dict.fromkeys(
            ("AF01XXS.JPG", "AF01ANX.JPG", "CF01ANS.JPG", "AF1ANS.JPG"), "not named as in KDEF"
        ).items(),
        ("AF01ANS.txt", "not an image file"),
    ],
)
def test_a_file_of_another_name_is_counted(tmp_path: Path, name: str, reason: str) -> None:
    put_face(tmp_path / "AF01ANS.JPG")
    (tmp_path / name).write_bytes(b"")
    read = read_dataset(tmp_path, labels=EMOTIONS[:7])
    assert [sample.name for sample in read.samples] == ["AF01ANS.JPG"]
    assert read.skipped == {reason: 1}


def test_a_folder_that_links_to_itself_gives_no_copies(tmp_path: Path) -> None:
    put_face(tmp_path / "AF01" / "AF01ANS.JPG")
    (tmp_path / "AF01" / "again").symlink_to(tmp_path / "AF01")
    read = read_dataset(tmp_path, labels=EMOTIONS[:7])
    assert [sample.name for sample in read.samples] == ["AF01/AF01ANS.JPG"]


def test_it_is_found_beside_its_average_faces_in_the_folder_of_both(tmp_path: Path) -> None:
    put_face(tmp_path / "KDEF_and_AKDEF" / "KDEF" / "AF01" / "AF01ANS.JPG")
    put_face(tmp_path / "KDEF_and_AKDEF" / "AKDEF" / "average.jpg")
    read = read_dataset(tmp_path, labels=EMOTIONS[:7])
    assert (read.format, [sample.person for sample in read.samples]) == ("KDEF", ["F01"])
    assert read.skipped == {"entry beside the dataset": 1}


def test_a_copy_in_class_folders_keeps_its_people(tmp_path: Path) -> None:
    for name in ("angry/AF01ANFL.JPG", "happy/AF01HAHR.JPG", "happy/BM02HAS.JPG"):
        put_face(tmp_path / name)
    read = read_dataset(tmp_path, labels=EMOTIONS[:7])
    assert (read.format, [(sample.label, sample.person) for sample in read.samples]) == (
        "KDEF",
        [(6, "F01"), (1, "F01"), (1, "M02")],
    )


def test_class_folders_of_which_some_have_such_names_are_class_folders(tmp_path: Path) -> None:
    for name in ("angry/AF01ANFL.JPG", "happy/1.jpg"):
        put_face(tmp_path / name)
    read = read_dataset(tmp_path, labels=EMOTIONS[:7])
    assert (read.format, len(read.samples)) == ("class folders", 2)

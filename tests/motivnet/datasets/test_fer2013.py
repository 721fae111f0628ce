from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from motivnet.datasets import fer2013
from motivnet.datasets.read import read_dataset
from motivnet.errors import DatasetError
from motivnet.labels import EMOTIONS
from motivnet.synthetic import draw_face

FACES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
PIXELS = " ".join(["7"] * 2304)


def grey_face(emotion: str) -> NDArray[np.uint8]:
    return np.asarray(
        cv2.cvtColor(draw_face(emotion, seed=0, size=(48, 48)), cv2.COLOR_RGB2GRAY), np.uint8
    )


def write(
    path: Path, rows: list[tuple[object, str, str]], *, header: str = "emotion,pixels,Usage"
) -> Path:
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    usages = ["Training"] * 5 + ["PublicTest", "PrivateTest"]
    faces = [" ".join(map(str, grey_face(emotion).ravel())) for emotion in FACES]
    write(tmp_path / "fer2013.csv", list(zip(range(7), faces, usages, strict=True)))
    return tmp_path


def test_rows_give_labels_parts_and_names_by_line(dataset: Path) -> None:
    found = fer2013.read(dataset, labels=EMOTIONS[:7])
    parts = ["train"] * 5 + ["val", "test"]
    assert [(sample.name, EMOTIONS[sample.label], sample.split) for sample in found.samples] == [
        (f"fer2013.csv:{row + 2}", emotion, part)
        for row, (emotion, part) in enumerate(zip(FACES, parts, strict=True))
    ]
    assert found.skipped == {}


def test_the_grey_levels_become_rgb_pixels(dataset: Path) -> None:
    sample = fer2013.read(dataset, labels=EMOTIONS[:7]).samples[3]
    np.testing.assert_array_equal(
        sample.pixels(), np.repeat(grey_face("happiness")[:, :, None], 3, axis=2)
    )


def test_the_folder_and_the_file_itself_are_recognised(dataset: Path) -> None:
    for path in (dataset, dataset / "fer2013.csv"):
        read = read_dataset(path, labels=EMOTIONS[:7])
        assert (read.format, len(read.samples)) == ("FER2013", 7)


def test_the_other_release_has_another_name_and_blanks_in_its_header(tmp_path: Path) -> None:
    write(
        tmp_path / "icml_face_data.csv", [(3, "Training", PIXELS)], header="emotion, Usage, pixels"
    )
    sample = fer2013.read(tmp_path, labels=EMOTIONS[:7]).samples[0]
    assert (sample.label, sample.split) == (1, "train")


@pytest.mark.parametrize(
    "pixels", ["", PIXELS[:-2], f"{PIXELS} 7", PIXELS.replace("7", "256", 1), "x" + PIXELS[1:]]
)
def test_a_row_with_damaged_pixels_is_counted(tmp_path: Path, pixels: str) -> None:
    write(tmp_path / "fer2013.csv", [(0, pixels, "Training"), (1, PIXELS, "Training")])
    found = fer2013.read(tmp_path, labels=EMOTIONS[:7])
    assert [sample.name for sample in found.samples] == ["fer2013.csv:3"]
    assert found.skipped == {"pixels that are not 48 x 48 grey levels": 1}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            (7, PIXELS, "Training"),
            "line 2 of .*fer2013.csv has the label '7'; it must be a whole number from 0 to 6",
        ),
        (
            (1, PIXELS, "Testing"),
            "line 2 of .* has the usage 'Testing'; it must be one of Training, PublicTest, Priv",
        ),
    ],
)
def test_a_value_that_fer2013_does_not_have_names_its_line(
    tmp_path: Path, row: tuple[object, str, str], message: str
) -> None:
    write(tmp_path / "fer2013.csv", [row])
    with pytest.raises(DatasetError, match=message):
        fer2013.read(tmp_path, labels=EMOTIONS[:7])


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    write(tmp_path / "fer2013.csv", [(1, PIXELS, "Training")], header="emotion,pixels,Part")
    with pytest.raises(
        DatasetError, match=r"lacks the column Usage; .* has: emotion, pixels, Part"
    ):
        fer2013.read(tmp_path, labels=EMOTIONS[:7])


def write_competition(folder: Path) -> None:
    rows = "".join(f"{code},{PIXELS}\n" for code in range(7))
    (folder / "train.csv").write_text(f"emotion,pixels\n{rows}")
    (folder / "test.csv").write_text(f"pixels\n{PIXELS}\n")


def test_the_files_of_the_competition_are_read_and_those_without_labels_are_said(
    tmp_path: Path,
) -> None:
    write_competition(tmp_path)
    read = read_dataset(tmp_path, labels=EMOTIONS[:7])
    assert (read.format, {sample.split for sample in read.samples}) == ("FER2013", {"train"})
    assert [EMOTIONS[sample.label] for sample in read.samples] == list(FACES)
    assert read.skipped == {"file of images without labels": 1}
    assert len(read_dataset(tmp_path / "train.csv", labels=EMOTIONS[:7]).samples) == 7


def test_the_whole_file_is_preferred_and_may_have_blanks_in_its_header(tmp_path: Path) -> None:
    write_competition(tmp_path)
    rows = f"3, Training,{PIXELS}\n0, PrivateTest,{PIXELS}\n"
    (tmp_path / "icml_face_data.csv").write_text(f"emotion, Usage, pixels\n{rows}")
    read = read_dataset(tmp_path, labels=EMOTIONS[:7])
    assert [(sample.label, sample.split) for sample in read.samples] == [(1, "train"), (6, "test")]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_file_saved_by_a_spreadsheet_is_read_in_its_wrapper(
    tmp_path: Path, separator: str
) -> None:
    (tmp_path / "archive" / "fer2013").mkdir(parents=True)
    rows = [("emotion", "pixels", "Usage"), ("3", PIXELS, "PublicTest")]
    text = "\ufeff" + "".join(separator.join(row) + "\r\n" for row in rows)
    (tmp_path / "archive" / "fer2013" / "fer2013.csv").write_bytes(text.encode())
    read = read_dataset(tmp_path, labels=EMOTIONS[:7])
    assert [(sample.label, sample.split) for sample in read.samples] == [(1, "val")]


def test_a_file_of_another_name_is_known_by_its_columns(tmp_path: Path) -> None:
    write(tmp_path / "mine.csv", [(3, PIXELS, "Training")])
    read = read_dataset(tmp_path / "mine.csv", labels=EMOTIONS[:7])
    assert [(sample.name, sample.split) for sample in read.samples] == [("mine.csv:2", "train")]


def test_its_copy_in_folders_is_read_in_its_wrapper(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"):
            path = tmp_path / "archive" / split / name / "Training_1.jpg"
            path.parent.mkdir(parents=True)
            assert cv2.imwrite(str(path), grey_face("neutral"))
    read = read_dataset(tmp_path, labels=EMOTIONS[:7])
    assert (read.format, read.skipped) == ("class folders", {})
    assert read.counts() == dict.fromkeys(EMOTIONS[:7], 2)
